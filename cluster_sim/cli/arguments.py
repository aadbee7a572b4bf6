"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.errors import InputError

StudyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Study file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one value, for example fleet.pools.main.replicas=8; repeatable."
    ),
]
AllowUnknown = Annotated[
    bool,
    typer.Option(
        "--allow-unknown",
        help="Go on with a model's config.json that has keys which change cost and are not understood: they are passed "
        "over, and named in the results.",
    ),
]


def with_allowance(overrides: list[str] | None, allow_unknown: bool) -> list[str]:
    """Return the overrides of a command line with what --allow-unknown stands for."""
    return [*(overrides or ()), *(["fleet.allow_unknown=true"] if allow_unknown else ())]


def refuse_without(context: typer.Context, needed: str, *parameters: str) -> None:
    """Raise InputError if one of the parameters of a command was given, which have no effect without ``needed``."""
    for parameter in parameters:
        source = context.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            name = next(option.opts[0] for option in context.command.params if option.name == parameter)
            raise InputError(f"{name}: has no effect without {needed}; add it, or leave {name} out")


Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join, for example HOST:6379 or auto; without it a local one is started."),
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Show the simulator's internals too: lookahead, choice of the executor.")
]
