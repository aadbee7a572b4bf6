"""``cluster-sim export``: a finished run in another program."""

from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Option of the target, repeatable, for example project=fleet."),
]


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a complete run.", show_default=False)],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="wandb, mlflow or otlp, or one of a plug-in.", show_default=False)
    ],
    settings: Settings = None,
) -> None:
    """Write a finished run into Weights & Biases or MLflow, or send its requests as traces over OTLP."""
    from cluster_sim.report.run_export import export_run

    typer.echo(export_run(directory, target, settings or ()))
