"""The ``cluster-sim`` command: its subcommands and exit codes.

Exit codes: 0 done; 2 the input is wrong; 3 the run could not finish, and what is done is kept.  The modules of the
commands import the simulator inside their functions, so that ``--help`` is quick.
"""

import errno
import sys
import traceback
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

import cluster_sim
from cluster_sim.cli import profile_commands, workload_commands
from cluster_sim.cli.calibrate_command import calibrate
from cluster_sim.cli.capacity_command import capacity
from cluster_sim.cli.command_group import CommandGroup
from cluster_sim.cli.compare_command import compare
from cluster_sim.cli.explain_command import explain
from cluster_sim.cli.export_command import export
from cluster_sim.cli.fork_commands import checkpoint, fork
from cluster_sim.cli.import_command import import_deployment
from cluster_sim.cli.init_command import init
from cluster_sim.cli.list_command import list_parts
from cluster_sim.cli.plan_command import plan
from cluster_sim.cli.report_command import report
from cluster_sim.cli.run_command import run
from cluster_sim.cli.sweep_command import sweep
from cluster_sim.cli.validate_command import validate
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.shown_values import cut

MOST_OF_MESSAGE: Final = 20_000
"""Characters of a message that are printed, whatever a file holds."""
EXIT_INPUT: Final = 2
EXIT_UNFINISHED: Final = 3
EXIT_INTERRUPTED: Final = 130
"""Typer's exit code for Ctrl-C."""
_INTERRUPTED: Final = "unfinished: interrupted; what was written so far is kept"
NO_PATH: Final = (errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of what cannot be the path of anything, so that whoever named it is to name something else."""

app = CommandGroup(
    name="cluster-sim",
    help="Predicts how a fleet of LLM serving replicas behaves, without a GPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_STUDIES: Final = (plan, capacity, sweep, compare, checkpoint, fork)
for command in (init, validate, run, *_STUDIES, calibrate, report, explain, export):
    app.command()(command)
app.command("import")(import_deployment)
app.command("list")(list_parts)
app.add_typer(profile_commands.app, name="profile")
app.add_typer(workload_commands.app, name="workload")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from cluster_sim.kernel.kernels import described

        typer.echo(f"cluster-sim {cluster_sim.__version__}\n{described()}")
        raise typer.Exit


class Settings:
    """What the options before the command say."""

    def __init__(self) -> None:
        self.is_debugging = False


@app.callback()
def _root(
    context: typer.Context,
    is_debugging: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an internal error, for a report of it.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predicts how a fleet of LLM serving replicas behaves, without a GPU."""
    if isinstance(context.obj, Settings):
        context.obj.is_debugging = is_debugging


def main() -> NoReturn:
    """Run the command line; wrong input ends with code 2, an unfinished run with 3, never with a traceback unless
    ``--debug`` asks for it.

    SIGTERM and SIGHUP stop a run as Ctrl-C does, so that its actors and its local cluster are gone afterwards.
    """
    from cluster_sim.garbage import rare_collections
    from cluster_sim.interruption import INTERRUPTION

    INTERRUPTION.install()
    settings = Settings()
    try:
        with rare_collections(), INTERRUPTION.restored():
            app(obj=settings)
    except InputError as error:
        _fail(f"error: {error}", EXIT_INPUT)
    except UnfinishedError as error:
        _fail(f"unfinished: {error}", EXIT_UNFINISHED)
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, EXIT_UNFINISHED)
    except SystemExit as stop:
        INTERRUPTION.end()
        if stop.code == EXIT_INTERRUPTED:
            _fail(_INTERRUPTED, EXIT_UNFINISHED)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except MemoryError as error:
        _fail(f"unfinished: there is not enough memory{_kept(error)}; a smaller study needs less", EXIT_UNFINISHED)
    except OSError as error:
        if error.errno in NO_PATH:
            _fail(f"error: {cut(str(error.filename))}: is no path ({error.strerror})", EXIT_INPUT)
        _fail(f"unfinished: {error}{_kept(error)}", EXIT_UNFINISHED)
    except Exception as error:  # noqa: BLE001 - the last net: whatever else happens is a fault of the program
        if settings.is_debugging:
            traceback.print_exception(error)
        _fail(_internal(error, is_debugging=settings.is_debugging), EXIT_UNFINISHED)
    INTERRUPTION.end()
    sys.exit(0)


def _internal(error: Exception, *, is_debugging: bool) -> str:
    """Return one line about a fault of the program, and how to report it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    words = " ".join(str(error).split())
    report = (
        "please report it with the study and the traceback above"
        if is_debugging
        else "please report it with the study and the traceback that `cluster-sim --debug` and the same arguments print"
    )
    return f"internal error: {type(error).__name__}: {cut(words, 300)}{place}{_kept(error)}; {report}"


def _kept(error: BaseException) -> str:
    """Return what was noted on an error about results that are kept."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _fail(message: str, code: int) -> NoReturn:
    from cluster_sim.interruption import INTERRUPTION

    INTERRUPTION.end()
    typer.echo(message if len(message) <= MOST_OF_MESSAGE else f"{message[:MOST_OF_MESSAGE]}...", err=True)
    sys.exit(code)
