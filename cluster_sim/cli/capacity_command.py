"""``cluster-sim capacity``: the highest load of each configuration within the limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster_sim.cli.arguments import Address, AllowUnknown, Overrides, StudyFile, with_allowance

if TYPE_CHECKING:
    from cluster_sim.study.variants import Variant


def capacity(
    file: StudyFile,
    overrides: Overrides = None,
    tolerance: Annotated[
        float, typer.Option(min=0.001, max=1, help="Relative precision of the rates; 0.05 at most is used.")
    ] = 0.03,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the results. [default: capacity/<name>-<config hash>]"),
    ] = None,
    address: Address = None,
    allow_unknown: AllowUnknown = False,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Continue a search that did not finish.")] = False,
) -> None:
    """Find the highest load that each configuration of a study serves within its limits, with an interval."""
    from cluster_sim.config.loading.load import read_document
    from cluster_sim.errors import InputError
    from cluster_sim.report.capacity_report import answer_text, best_text, print_capacities
    from cluster_sim.report.console import make_console
    from cluster_sim.report.task_table import TaskTable
    from cluster_sim.shown_values import counted
    from cluster_sim.study.capacity_directory import ANSWERS_FILE, TABLE_FILE
    from cluster_sim.study.capacity_study import CapacityOptions, run_capacity
    from cluster_sim.study.variants import configurations

    document = read_document(file, with_allowance(overrides, allow_unknown))
    variants = configurations(file, document)
    with TaskTable(make_console(), len(variants)) as table:

        def show_start(variant: "Variant") -> None:
            table.start(variant.label or file.name)

        def show_row(variant: "Variant", row: dict[str, Any]) -> None:
            table.end(variant.label or file.name, answer_text(row), is_instant=variant.study is None)

        options = CapacityOptions(out, address, is_resumed, tolerance)
        result = run_capacity(file, document, options, on_row=show_row, on_kept=table.keep, on_start=show_start)
    typer.echo("")
    if len(variants) > 1:
        print_capacities(make_console(), result.rows, list(variants[0].values), str(result.directory / TABLE_FILE))
        typer.echo("")
    typer.echo(f"{counted(len(result.rows), 'configuration')}: {result.directory / ANSWERS_FILE}, {TABLE_FILE}")
    if not result.has_capacity:
        raise InputError(f"{file}: {best_text(result.rows)}")
    typer.echo(best_text(result.rows))
