"""The command line: what each command says, and the exit codes."""

import json
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cluster_sim
from cluster_sim.cli.app import main
from cluster_sim.config.loading.document import Document
from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.run_options import RunOptions

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``cluster-sim`` with arguments in this process; returns exit code, output and errors."""

    def call(*arguments: str | Path | int) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cluster-sim", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, RunOptions]]:
    """Replaces the run itself; the list receives what it was asked to run."""
    asked: list[tuple[Any, RunOptions]] = []
    module = types.ModuleType("cluster_sim.simulation.run")
    module.run_study = lambda study, options, _: asked.append((study, options))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cluster_sim.simulation.run", module)
    return asked


@pytest.fixture
def study_file(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    assert command("init", "-o", path)[0] == 0
    return path


def test_module_is_the_command() -> None:
    """``python -m cluster_sim`` works and knows its version."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster_sim", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"cluster-sim {cluster_sim.__version__}\n")


def test_help_lists_the_commands_built(command: Command) -> None:
    """``--help`` names every command, and each command explains its options."""
    code, text, _ = command("--help")
    assert code == 0
    for name in ("init", "validate", "run", "sweep"):
        assert f" {name} " in text
        assert command(name, "--help")[0] == 0


def test_init_writes_a_valid_study(command: Command, study_file: Path) -> None:
    """``init`` writes a study that ``validate`` accepts, and never overwrites a file."""
    assert load_study(study_file).name == "my-study"
    assert command("validate", study_file)[0] == 0
    code, _, error = command("init", "-o", study_file)
    assert code == 2
    assert "exists already" in error
    code, _, error = command("init", "-o", study_file.parent / "nowhere" / "study.yaml")
    assert code == 2
    assert "cannot be written" in error


def test_validate_prints_everything(command: Command, study_file: Path) -> None:
    """The report holds every value with pinned defaults filled in, the memory plan and the lookahead; it is a study."""
    code, text, _ = command("validate", study_file, "--set", "seed=7", "-m")
    assert code == 0
    data = Document.parse(text, "report").data
    assert data["seed"] == 7
    assert data["fleet"]["pools"][0]["engine"]["max_num_batched_tokens"] == 8192
    assert "KV blocks of 16 tokens" in text
    assert "a step takes at least" in text
    assert "the router observes responses" in text
    assert "executor auto would choose inline: coupling factor" in text
    assert "models are valid" in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fleet.pools.0.model=llama-3-70b", "llama-3-70b does not fit h100-sxm"),
        ("fleet.pools.0.tensor_parallel=3", "tensor_parallel"),
        ("fleet.pools.0.pipeline_parallel=5", "pipeline_parallel"),
        ("fleet.pools.0.replica=1", "unknown key; did you mean 'replicas'?"),
        ("workload={kind: trace, format: azure, path: none.csv}", "no such file"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(command: Command, study_file: Path, override: str, message: str) -> None:
    """What does not fit, does not divide, is not known or not there ends with code 2 and one message."""
    code, _, error = command("validate", study_file, "--set", override)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "study.yaml", "--executor", "slow"],
        ["run", "study.yaml", "--metrics-port", "0"],
        ["run", "study.yaml", "--speedup", "fast"],
        ["run", "study.yaml", "-l", "loud"],
        ["run", "study.yaml", "--unknown"],
        ["unknown"],
    ],
)
def test_wrong_usage_is_code_2(command: Command, arguments: list[str]) -> None:
    """Missing arguments, unknown options and values end with code 2."""
    code, _, error = command(*arguments)
    assert code == 2
    assert "Traceback" not in error


def test_missing_study_and_wrong_speedup(command: Command, study_file: Path, runs: list[Any]) -> None:
    """A study that is not there and a pace that is no pace are wrong input."""
    assert command("run", study_file.parent / "none.yaml")[0] == 2
    for speedup in ("0", "-1", "nan", "inf"):
        code, _, error = command("run", study_file, "--speedup", speedup)
        assert code == 2
        assert "must be a positive number" in error
    assert runs == []


def test_run_hands_its_options_on(command: Command, study_file: Path, runs: list[tuple[Any, RunOptions]]) -> None:
    """Every option of ``run`` reaches the run; the executor is part of the resolved study too."""
    code, _, _ = command(
        "run", study_file, "--set", "fleet.pools.0.replicas=9", "--set", "seed=3", "--executor", "inline",
        "--address", "head:6379", "--out", study_file.parent / "out", "--metrics-port", "9400", "--speedup", "2",
        "-l", "debug",
    )  # fmt: skip
    assert code == 0
    study, options = runs[0]
    assert (study.fleet.pools[0].replicas, study.seed, study.run.executor) == (9, 3, "inline")
    assert options == RunOptions(
        executor="inline",
        address="head:6379",
        out=study_file.parent / "out",
        metrics_port=9400,
        speedup=2.0,
    )


@pytest.mark.parametrize(
    ("raised", "code", "start"),
    [
        (InputError("no"), 2, "error: no\n"),
        (UnfinishedError("stuck"), 3, "unfinished: stuck\n"),
        (KeyboardInterrupt(), 3, "unfinished: interrupted"),
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
    assert out == ""


def manifest(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "manifest.json").read_text(encoding="utf-8"))


def test_resolved_study_repeats_the_run(command: Command, study_file: Path) -> None:
    """A run writes its files and prints where; running its ``resolved.yaml`` gives the same digest."""
    first, second = study_file.parent / "first", study_file.parent / "second"
    code, text, _ = command("run", study_file, "--set", "workload.count=200", "--executor", "inline", "--out", first)
    assert code == 0
    assert "first token" in text
    for name in ("summary.json", "requests.parquet", "series.parquet", "resolved.yaml", "manifest.json"):
        assert (first / name).is_file()
    assert not first.with_name("first.partial").exists()
    assert command("run", first / "resolved.yaml", "--out", second)[0] == 0
    assert manifest(second)["digest"] == manifest(first)["digest"]
    assert manifest(second)["config_hash"] == manifest(first)["config_hash"]


def test_wrong_input_found_late_leaves_nothing(command: Command, study_file: Path) -> None:
    """A cluster that is not there, and a metrics port that is taken, are wrong input; no directory is left."""
    out = study_file.parent / "out"
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, error = command("run", study_file, "--executor", "inline", "--metrics-port", port, "--out", out)
    assert (code, f"--metrics-port {port}" in error) == (2, True)
    code, _, error = command("run", study_file, "--executor", "ray", "--address", f"127.0.0.1:{port}", "--out", out)
    assert code == 2
    assert "no Ray cluster answers there" in error
    assert not list(study_file.parent.glob("out*"))


@pytest.mark.parametrize(
    ("executor", "number"),
    [("inline", signal.SIGINT), pytest.param("ray", signal.SIGTERM, marks=pytest.mark.ray)],
)
def test_a_stopped_run_ends_cleanly(tmp_path: Path, study_file: Path, executor: str, number: signal.Signals) -> None:
    """Ctrl-C, and what batch systems send, end a run with code 3 and one message; no result appears."""
    out = tmp_path / "out"
    arguments = ["run", str(study_file), "--executor", executor, "--out", str(out), "--speedup", "0.1"]
    with subprocess.Popen(
        [sys.executable, "-m", "cluster_sim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads yet
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # The first line of progress: the run is under way.
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert error == f"unfinished: interrupted; what was written so far is in {out}.partial\n"
    assert not out.exists()


def test_log_level(tmp_path: Path, study_file: Path) -> None:
    """Nothing is logged by default; info tells what was decided, debug the protocol's traffic."""
    logged = {}
    for level in ("warning", "info", "debug"):
        arguments = ["--set", "workload.count=20", "--executor", "inline", "--out", str(tmp_path / level), "-l", level]
        done = subprocess.run(
            [sys.executable, "-m", "cluster_sim", "run", str(study_file), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        logged[level] = done.stderr
    assert logged["warning"] == ""
    assert "INFO cluster_sim.simulation.run: pool main: 4 replicas of llama-3-8b on 1 x h100-sxm" in logged["info"]
    assert "DEBUG" not in logged["info"]
    assert "DEBUG cluster_sim.simulation.run: placement {}, traffic {'rounds':" in logged["debug"]
