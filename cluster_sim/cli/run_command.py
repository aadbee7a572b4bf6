"""``cluster-sim run``: one run of a study, its results in a directory."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.cli.arguments import (
    Address,
    AllowUnknown,
    Overrides,
    StudyFile,
    Verbose,
    refuse_without,
    with_allowance,
)
from cluster_sim.cli.resumed_run import broken_off_run, refuse_directory
from cluster_sim.errors import InputError


class ExecutorName(StrEnum):
    """Runtimes of the simulation."""

    auto = "auto"
    inline = "inline"
    ray = "ray"


class LogLevelName(StrEnum):
    """Least severe message that is printed."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class MetricsNames(StrEnum):
    """Servers whose names series can have."""

    auto = "auto"
    vllm = "vllm"
    sglang = "sglang"


def run(
    context: typer.Context,
    file: StudyFile,
    overrides: Overrides = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="Runtime of the simulation; overrides run.executor.")
    ] = None,
    address: Address = None,
    min_cpus: Annotated[
        float | None,
        typer.Option(min=0, help="Wait until the Ray cluster has so many CPUs; for workers that are still starting."),
    ] = None,
    allow_unknown: AllowUnknown = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory. [default: runs/<name>-<config hash>]")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve live Prometheus metrics on this port.")
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address that serves them; 0.0.0.0 is every IPv4 address of this machine.")
    ] = "127.0.0.1",
    metrics_names: Annotated[
        MetricsNames,
        typer.Option(help="Whose names the series of engines have; auto: those of the engine that is simulated."),
    ] = MetricsNames.auto,
    linger_s: Annotated[
        float,
        typer.Option(
            min=0,
            help="Longest wait at the end until a scraper that was seen has read the last page; two of its intervals "
            "at most. Ctrl-C ends it.",
        ),
    ] = 30.0,
    speedup: Annotated[
        float | None,
        typer.Option(help="Pace simulated time to so many times real time; without it, as fast as possible."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last snapshot of a run that was broken off; FILE may be its directory instead of its "
            "study. Executor and placement may differ.",
        ),
    ] = False,
    is_paranoid: Annotated[
        bool,
        typer.Option("--paranoid", help="Check the full state of every replica in every window; slow."),
    ] = False,
    is_profiled: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Write profile.pstats, where the time of the simulation goes, into the run directory (executor "
            "inline; takes about twice as long). `python -m pstats` and snakeviz read it.",
        ),
    ] = False,
    log_level: Annotated[
        LogLevelName, typer.Option("-l", "--log-level", help="Least severe message to print.")
    ] = LogLevelName.warning,
    is_verbose: Verbose = False,
) -> None:
    """Run a study and write its results."""
    import logging

    from cluster_sim.config.loading.error_context import locating_errors
    from cluster_sim.config.loading.load import check_study, read_document
    from cluster_sim.metrics.metrics_options import MetricsOptions
    from cluster_sim.report.terminal import TerminalView
    from cluster_sim.simulation.run import run_study
    from cluster_sim.simulation.run_options import RunOptions

    if metrics_port is None:
        refuse_without(context, "--metrics-port", "metrics_host", "metrics_names", "linger_s")
    if speedup is not None and not 0 < speedup < math.inf:
        raise InputError(f"--speedup must be a positive number; got {speedup:g}")
    logging.basicConfig(level=log_level.value.upper(), format="%(levelname)s %(name)s: %(message)s")
    metrics = None
    if metrics_port is not None:
        metrics = MetricsOptions(metrics_port, metrics_host, metrics_names.value, linger_s)
    chosen = [] if executor is None else [f"run.executor={executor.value}"]
    if file.is_dir() and not resume:
        refuse_directory(file)
    if resume and not file.is_file():
        file, out = broken_off_run(file, out)
    document = read_document(file, [*with_allowance(overrides, allow_unknown), *chosen])
    study = check_study(document, file.resolve().parent)
    options = RunOptions(
        executor=None if executor is None else executor.value,
        address=address,
        min_cpus=min_cpus,
        out=out,
        metrics=metrics,
        speedup=speedup,
        resumes=resume,
        is_verbose=is_verbose,
        is_paranoid=is_paranoid,
        is_profiled=is_profiled,
    )
    if study.sweep is not None:
        typer.echo(f"note: {file} has a sweep block, which `run` leaves out; `sweep` runs its combinations", err=True)
    with locating_errors(document):
        run_study(study, options, TerminalView())
