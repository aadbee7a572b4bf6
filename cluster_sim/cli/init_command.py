"""``cluster-sim init``: a commented study that shows every option."""

from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.errors import InputError


def init(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="File to write, which must not exist; else it is printed."),
    ] = None,
) -> None:
    """Print a commented study that shows every option with its default, or write it."""
    from cluster_sim.config.loading.template import study_template

    if output is None:
        typer.echo(study_template(), nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(study_template())
    except FileExistsError:
        raise InputError(f"{output}: exists already; name another file with -o") from None
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from None
    typer.echo(f"Wrote {output}; next: cluster-sim validate {output}")
