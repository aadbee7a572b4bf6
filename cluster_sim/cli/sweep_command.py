"""``cluster-sim sweep``: every run of a study's sweep block."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster_sim.cli.arguments import Address, AllowUnknown, Overrides, StudyFile, with_allowance

if TYPE_CHECKING:
    from cluster_sim.study.variants import Variant


def sweep(
    file: StudyFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the results. [default: sweeps/<name>-<config hash>]"),
    ] = None,
    address: Address = None,
    allow_unknown: AllowUnknown = False,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Continue a sweep that did not finish.")] = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, and about how long they take, without running them.")
    ] = False,
) -> None:
    """Run every combination of a study's sweep block, each as a Ray task."""
    import os

    from cluster_sim.config.loading.load import read_document
    from cluster_sim.report.console import make_console
    from cluster_sim.report.sweep_report import print_sweep, result_text
    from cluster_sim.report.task_table import TaskTable
    from cluster_sim.shown_values import counted
    from cluster_sim.study.sweep import SweepOptions, run_sweep
    from cluster_sim.study.sweep_directory import RESULTS_FILE, TABLE_FILE
    from cluster_sim.study.sweep_estimate import estimate
    from cluster_sim.study.variants import expand

    document = read_document(file, with_allowance(overrides, allow_unknown))
    variants = expand(file, document)
    if is_dry:
        for variant in variants:
            typer.echo(f"{variant.run_id}  {variant.label}{'' if variant.study else f'  invalid: {variant.error}'}")
        typer.echo(estimate(variants).words(os.cpu_count() or 1))
        return
    with TaskTable(make_console(), len(variants)) as table:

        def show_start(variant: "Variant") -> None:
            table.start(variant.label)

        def show_row(variant: "Variant", row: dict[str, Any]) -> None:
            table.end(variant.label, result_text(row), is_instant=variant.study is None)

        options = SweepOptions(out=out, address=address, resume=is_resumed)
        result = run_sweep(file, document, options, on_row=show_row, on_kept=table.keep, on_start=show_start)
    typer.echo("")
    print_sweep(make_console(), result.rows, result.keys, str(result.directory / TABLE_FILE))
    runs = counted(len(result.rows), "run")
    typer.echo(f"\n{runs}, {result.failed} failed: {result.directory / RESULTS_FILE}, {TABLE_FILE}")
