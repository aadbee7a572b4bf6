"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Study file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one value, for example fleet.pools.0.replicas=8; repeatable."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join, for example HOST:6379 or auto; without it a local one is started."),
]
