"""``cluster-sim report``: pages and exports of a finished run."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.cli.arguments import refuse_without
from cluster_sim.errors import InputError
from cluster_sim.shown_values import shown_path

RunDirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory of a complete run or sweep.", show_default=False)
]


def report(
    context: typer.Context,
    directory: RunDirectoryArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write. [default: DIR/report.html]")
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="DIR", help="Write DIR/comparison.html instead: what `compare` tells, with pictures."
        ),
    ] = None,
    is_traced: Annotated[
        bool, typer.Option("--trace", help="Also write DIR/trace.json for Perfetto or chrome://tracing.")
    ] = False,
    trace_replicas: Annotated[
        str | None, typer.Option("--trace-replicas", metavar="LIST", help="Only these replicas, for example 0,4-7.")
    ] = None,
    trace_window: Annotated[
        str | None,
        typer.Option("--trace-window", metavar="A:B", help="Only what reaches into these simulated seconds."),
    ] = None,
    trace_slowest: Annotated[
        int | None, typer.Option("--trace-slowest", metavar="N", min=1, help="Only the requests that took longest.")
    ] = None,
    is_trace_compressed: Annotated[bool, typer.Option("--trace-gzip", help="Write DIR/trace.json.gz.")] = False,
    is_backfilled: Annotated[
        bool, typer.Option("--openmetrics", help="Also write DIR/openmetrics.txt: metrics stamped with simulated time.")
    ] = False,
    step: Annotated[
        float, typer.Option(metavar="S", min=0.001, help="Simulated seconds between two samples of --openmetrics.")
    ] = 5.0,
    epoch: Annotated[
        str,
        typer.Option(
            metavar="T", help="Date of simulated time 0 in --openmetrics: ISO 8601, UTC if no zone is given, or Unix s."
        ),
    ] = "2026-01-01T00:00:00Z",
    is_compressed: Annotated[
        bool, typer.Option("--gzip", help="Write DIR/openmetrics.txt.gz; promtool needs it unpacked.")
    ] = False,
) -> None:
    """Write a self-contained HTML report of a run or a sweep, or a comparison of two runs."""
    from cluster_sim.atomic_file import whole_set
    from cluster_sim.output_target import PAGE, check_target
    from cluster_sim.report.openmetrics import Backfill, openmetrics_path, write_openmetrics
    from cluster_sim.report.perfetto_trace import trace_path, write_trace
    from cluster_sim.report.report_file import page_path, write_comparison, write_report
    from cluster_sim.report.run_data import RunData, undamaged
    from cluster_sim.report.trace_filter import TraceFilter

    if not is_traced:
        refuse_without(context, "--trace", "trace_replicas", "trace_window", "trace_slowest", "is_trace_compressed")
    if not is_backfilled:
        refuse_without(context, "--openmetrics", "is_compressed", "step", "epoch")
    if not math.isfinite(step):
        raise InputError(f"--step {step}: must be a finite number of simulated seconds")
    chosen = TraceFilter.parse(trace_replicas, trace_window, trace_slowest)
    backfill = Backfill(step, _date(epoch), is_compressed)
    if is_traced or is_backfilled:
        # Before the page is written: a sweep has neither of the two.
        with undamaged(directory):
            chosen.check(len(RunData.read(directory).summary["replicas"]))
    if not directory.is_dir():
        fault = "it is a file" if directory.exists() else "there is none"
        raise InputError(f"{shown_path(directory)}: is not the directory of a complete run or sweep: {fault}")
    files = [output or page_path(directory, is_comparison=other is not None)]
    if output is not None or files[0].is_file():
        check_target(files[0], PAGE)
    with whole_set() as place:
        if other is not None:
            write_comparison(directory, other, place(files[0]))
        else:
            write_report(directory, place(files[0]))
        if is_traced:
            files.append(trace_path(directory, is_compressed=is_trace_compressed))
            write_trace(directory, place(files[-1]), chosen, is_compressed=is_trace_compressed)
        if is_backfilled:
            files.append(openmetrics_path(directory, backfill))
            with undamaged(directory):
                write_openmetrics(directory, place(files[-1]), backfill, announce=_announce)
    for file in files:
        typer.echo(f"Wrote {file}")


def _date(text: str) -> datetime:
    """Return a date that is written as ISO 8601, or as seconds since 1970; raises InputError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            raise InputError(
                f"--epoch {text}: must be a date such as 2026-01-01T00:00:00Z, or seconds since 1970"
            ) from None
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise InputError(f"--epoch {text}: is no date that can be written") from None


def _announce(size: object) -> None:
    typer.echo(f"OpenMetrics: {size}")
