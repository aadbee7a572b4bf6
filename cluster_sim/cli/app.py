"""The ``cluster-sim`` command.

Exit codes: 0 done; 2 the input is wrong; 3 the run could not finish, what is done is kept.
"""

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

import cluster_sim
from cluster_sim.cli import calibrate as cli_calibrate
from cluster_sim.cli import profile as cli_profile
from cluster_sim.cli import report as cli_report
from cluster_sim.cli import workload as cli_workload
from cluster_sim.errors import InputError, UnfinishedError

EXIT_INPUT: Final = 2
EXIT_UNFINISHED: Final = 3
EXIT_INTERRUPTED: Final = 130
"""What typer makes of Ctrl-C."""


class ExecutorName(StrEnum):
    """What runs the simulation."""

    auto = "auto"
    inline = "inline"
    ray = "ray"


class LogLevelName(StrEnum):
    """Least severe message that is printed."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


app = typer.Typer(
    name="cluster-sim",
    help="Predicts how a fleet of LLM serving replicas behaves, without a GPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_profile.app, name="profile")
app.add_typer(cli_workload.app, name="workload")

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


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"cluster-sim {cluster_sim.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predicts how a fleet of LLM serving replicas behaves, without a GPU."""


@app.command()
def init(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write; an existing file is left alone.")
    ] = Path("study.yaml"),
) -> None:
    """Write a commented study that shows every option with its default."""
    from cluster_sim.config.loading.template import study_template

    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(study_template())
    except FileExistsError:
        raise InputError(f"{output}: exists already; name another file with -o") from None
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from None
    typer.echo(f"Wrote {output}; next: cluster-sim validate {output}")


@app.command()
def validate(
    file: StudyFile,
    overrides: Overrides = None,
    is_library_checked: Annotated[
        bool, typer.Option("-m", "--models", help="Check every model and device of the library too.")
    ] = False,
) -> None:
    """Check a study; print every resolved value, the memory plan and the lookahead report."""
    from cluster_sim.config.loading.error_context import locating_errors
    from cluster_sim.config.loading.load import check_study, read_document
    from cluster_sim.simulation.registered import registered_names
    from cluster_sim.study.validate import check_library, validation_report

    document = read_document(file, overrides or ())
    study = check_study(document, file.resolve().parent, registered_names())
    with locating_errors(document):
        typer.echo(validation_report(study), nl=False)
    if is_library_checked:
        typer.echo(check_library(), nl=False)


@app.command()
def run(
    file: StudyFile,
    overrides: Overrides = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="What runs the simulation; overrides run.executor.")
    ] = None,
    address: Address = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory. [default: runs/<name>-<config hash>]")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve live Prometheus metrics on this port.")
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option(help="Pace simulated time to so many times real time; without it, as fast as possible."),
    ] = None,
    log_level: Annotated[
        LogLevelName, typer.Option("-l", "--log-level", help="Least severe message to print.")
    ] = LogLevelName.warning,
) -> None:
    """Run a study and write its results."""
    import logging

    from cluster_sim.config.loading.error_context import locating_errors
    from cluster_sim.config.loading.load import check_study, read_document
    from cluster_sim.report.terminal import TerminalView
    from cluster_sim.simulation.registered import registered_names
    from cluster_sim.simulation.run import run_study
    from cluster_sim.simulation.run_options import RunOptions

    if speedup is not None and not 0 < speedup < float("inf"):
        raise InputError(f"--speedup must be a positive number; got {speedup:g}")
    logging.basicConfig(level=log_level.value.upper(), format="%(levelname)s %(name)s: %(message)s")
    chosen = [] if executor is None else [f"run.executor={executor.value}"]
    document = read_document(file, [*(overrides or ()), *chosen])
    study = check_study(document, file.resolve().parent, registered_names())
    options = RunOptions(
        executor=None if executor is None else executor.value,
        address=address,
        out=out,
        metrics_port=metrics_port,
        speedup=speedup,
    )
    with locating_errors(document):
        run_study(study, options, TerminalView())


@app.command()
def sweep(
    file: StudyFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the results. [default: sweeps/<name>-<config hash>]"),
    ] = None,
    address: Address = None,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Continue a sweep that did not finish.")] = False,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="List the runs without running them.")] = False,
) -> None:
    """Run every combination of a study's sweep block, each as a Ray task."""
    from cluster_sim.config.loading.load import read_document
    from cluster_sim.study.sweep import RESULTS_FILE, SweepOptions, run_sweep
    from cluster_sim.study.variants import Variant, expand

    document = read_document(file, overrides or ())
    variants = expand(file, document)
    if is_dry:
        for variant in variants:
            typer.echo(f"{variant.run_id}  {variant.label}{'' if variant.study else f'  invalid: {variant.error}'}")
        return

    def report(variant: Variant, row: dict[str, Any]) -> None:
        error = f": {row['error']}" if row["error"] else ""
        typer.echo(
            f"{variant.index + 1:>{len(str(len(variants)))}}/{len(variants)} {variant.label}  {row['status']}{error}"
        )

    result = run_sweep(file, document, SweepOptions(out=out, address=address, resume=is_resumed), on_row=report)
    typer.echo(f"{len(result.rows)} runs, {result.failed} failed: {result.directory / RESULTS_FILE}")


app.command()(cli_calibrate.calibrate)
app.command()(cli_report.report)


def main() -> NoReturn:
    """Run the command line; wrong input ends with code 2, an unfinished run with 3, never with a traceback.

    SIGTERM and SIGHUP stop a run as Ctrl-C does, so that its actors and its local cluster are gone afterwards.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        app()
    except InputError as error:
        _fail(f"error: {error}", EXIT_INPUT)
    except UnfinishedError as error:
        _fail(f"unfinished: {error}", EXIT_UNFINISHED)
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:
            _fail("unfinished: interrupted; what was written so far is kept", EXIT_UNFINISHED)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)
