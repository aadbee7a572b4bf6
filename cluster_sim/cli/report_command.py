"""``cluster-sim report``: pages and exports of a finished run."""

from pathlib import Path
from typing import Annotated

import typer

RunDirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory of a complete run or sweep.", show_default=False)
]


def report(
    directory: RunDirectoryArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write. [default: DIR/report.html]")
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="DIR", help="Write DIR/comparison.html instead: this run beside another one."
        ),
    ] = None,
    is_traced: Annotated[
        bool, typer.Option("--trace", help="Also write DIR/trace.json for Perfetto or chrome://tracing.")
    ] = False,
    is_backfilled: Annotated[
        bool, typer.Option("--openmetrics", help="Also write DIR/openmetrics.txt: metrics stamped with simulated time.")
    ] = False,
) -> None:
    """Write a self-contained HTML report of a run or a sweep, or a comparison of two runs."""
    from cluster_sim.report.openmetrics import write_openmetrics
    from cluster_sim.report.perfetto_trace import write_trace
    from cluster_sim.report.report_file import write_comparison, write_report

    if other is not None:
        typer.echo(f"Wrote {write_comparison(directory, other, output)}")
    else:
        typer.echo(f"Wrote {write_report(directory, output)}")
    if is_traced:
        typer.echo(f"Wrote {write_trace(directory)}")
    if is_backfilled:
        typer.echo(f"Wrote {write_openmetrics(directory)}")
