"""The ``cluster-sim`` command: its help, wrong usage and exit codes."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from typer.core import TyperGroup

import cluster_sim
from cluster_sim import __main__ as entry
from cluster_sim.cli.app import app
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.run_options import RunOptions
from tests.cli.command import Command

COMMANDS = {
    *(
        "calibrate",
        "capacity",
        "checkpoint",
        "compare",
        "explain",
        "export",
        "fork",
        "import",
        "init",
        "list",
        "plan",
        "profile",
        "report",
        "run",
        "sweep",
        "validate",
        "workload",
    ),
}


def test_module_is_the_command() -> None:
    """``python -m cluster_sim`` works and knows its version."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster_sim", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"cluster-sim {cluster_sim.__version__}")
    assert done.stdout.splitlines()[1].startswith("kernel: Python")


def test_help_lists_the_commands_built(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--help`` names every command, and each command explains every option that it has."""
    monkeypatch.setenv("COLUMNS", "200")  # Narrow tables cut long options short.
    built = typer.main.get_command(app)
    assert isinstance(built, TyperGroup)
    assert set(built.commands) == COMMANDS
    code, text, _ = command("--help")
    assert code == 0
    for name, subcommand in built.commands.items():
        assert f" {name} " in text
        code, help_text, _ = command(name, "--help")
        assert code == 0
        members = subcommand.commands if isinstance(subcommand, TyperGroup) else {}
        for member, leaf in members.items():
            assert f" {member} " in help_text
            _says_every_option(leaf, command(name, member, "--help")[1])
        _says_every_option(subcommand, help_text)


def _says_every_option(subcommand: Any, help_text: str) -> None:
    for parameter in subcommand.params:
        assert parameter.help or parameter.name == "help", (subcommand.name, parameter.name)
        for spelling in parameter.opts if parameter.param_type_name == "option" else ():
            assert spelling in help_text, (subcommand.name, spelling)


def test_help_imports_no_simulator() -> None:
    """Importing the command loads the modules of the command line alone, and no package that is slow to import."""
    program = "import sys, cluster_sim.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("cluster_sim.") and not name.startswith("cluster_sim.cli")}
    assert ours <= {"cluster_sim.errors", "cluster_sim.shown_values"}
    assert not loaded & {"actors", "numpy", "pyarrow", "pydantic", "ray", "yaml"}


def test_the_shell_completes() -> None:
    """The shell is told the commands and the words that an argument may have."""
    program = "from cluster_sim.cli.app import app; app(prog_name='cluster-sim')"
    for words, expected in (("cluster-sim val", "validate"), ("cluster-sim list dev", "devices")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "_CLUSTER_SIM_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [expected], done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "FILE"),
        (["run", "study.yaml", "--executor", "slow"], "'--executor'"),
        (["run", "study.yaml", "--metrics-port", "0"], "'--metrics-port'"),
        (["run", "study.yaml", "--speedup", "fast"], "'--speedup'"),
        (["run", "study.yaml", "-l", "loud"], "'--log-level'"),
        (["run", "study.yaml", "--unknown"], "--unknown"),
        (["unknown"], "'unknown'"),
    ],
)
def test_wrong_usage_is_code_2(command: Command, arguments: list[str], message: str) -> None:
    """Missing arguments, unknown options and values end with code 2, and a message names them."""
    code, _, error = command(*arguments)
    assert code == 2
    assert message in " ".join(re.sub("[│╭╮╰╯─]", "", error).split())
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("raised", "code", "start"),
    [
        (InputError("no"), 2, "error: no\n"),
        (UnfinishedError("stuck"), 3, "unfinished: stuck\n"),
        (KeyboardInterrupt(), 3, "unfinished: interrupted"),
        (MemoryError(), 3, "unfinished: there is not enough memory; a smaller study needs less\n"),
        (OSError(28, "No space left on device", "x"), 3, "unfinished: [Errno 28] No space left on device: 'x'\n"),
        (OSError(36, "File name too long", "x" * 300), 2, f"error: {'x' * 80}... (300 characters): is no path"),
        (KeyError("a\nb"), 3, "internal error: KeyError: 'a\\nb' (test_app.py:"),
    ],
)
def test_exit_codes_of_a_run(
    command: Command, study_file: Path, runs: list[Any], raised: BaseException, code: int, start: str
) -> None:
    """Wrong input is 2, a run that cannot finish or is interrupted is 3, each with one message on standard error."""

    def fail(study: Any, options: RunOptions, view: Any) -> None:
        raise raised

    sys.modules["cluster_sim.simulation.run"].run_study = fail  # type: ignore[attr-defined]
    got, out, error = command("run", study_file)
    assert got == code
    assert error.startswith(start)
    assert len(error.splitlines()) == 1
    assert out == ""


def test_internal_errors_say_how_to_report_them(
    command: Command, study_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A fault of the program ends with code 3 and names what is kept, in one line; --debug prints the traceback."""

    def fail(hub: Any, recorder: Any, traffic: Any, end: Any) -> None:
        raise RuntimeError("x" * 10_000)

    monkeypatch.setattr("cluster_sim.simulation.inline.close_hub", fail)
    out = tmp_path / "run"
    few = ("--set", "workload.count=20", "--executor", "inline", "--out", out)
    code, _, error = command("run", study_file, *few)
    assert code == 3
    assert error.startswith(f"internal error: RuntimeError: {'x' * 300}... (10000 characters) (test_app.py:")
    assert f"; what was written so far is in {out}.partial; please report it with the study and the traceback" in error
    assert len(error.splitlines()) == 1
    pq.read_table(f"{out}.partial/requests.parquet")
    code, _, error = command("--debug", "run", study_file, *few)
    assert code == 3
    assert "Traceback (most recent call last):" in error
    assert error.splitlines()[-1].endswith("please report it with the study and the traceback above")


def test_interrupts_while_the_command_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C before the command line is there ends with code 3 and one line."""

    class Loading(types.ModuleType):
        """A module that is interrupted while it loads."""

        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "cluster_sim.cli.app", Loading("app"))
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert (stop.value.code, capsys.readouterr().err) == (3, "unfinished: interrupted before anything began\n")
