"""The ``run`` command: options, results, interruption, log levels."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.metrics.metrics_options import MetricsOptions
from cluster_sim.simulation.run_options import RunOptions
from tests.cli.command import Command
from tests.simulation.test_resume import kill_at_edge
from tests.small_run import small_study


def test_missing_study_and_wrong_speedup(command: Command, study_file: Path, runs: list[Any]) -> None:
    """A study that is not there and a pace that is no pace are wrong input."""
    code, _, error = command("run", study_file.parent / "none.yaml")
    assert code == 2
    assert error == f"error: {study_file.parent / 'none.yaml'}: no such file\n"
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
        "--metrics-host", "0.0.0.0", "--metrics-names", "vllm", "--linger-s", "7", "--min-cpus", "6",
        "-l", "debug", "-v",
    )  # fmt: skip
    assert code == 0
    study, options = runs[0]
    assert (study.fleet.pools[0].replicas, study.seed, study.run.executor) == (9, 3, "inline")
    assert options == RunOptions(
        executor="inline",
        address="head:6379",
        min_cpus=6.0,
        out=study_file.parent / "out",
        metrics=MetricsOptions(9400, "0.0.0.0", "vllm", 7.0),
        speedup=2.0,
        is_verbose=True,
    )


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


def test_a_sweep_block_is_left_out_and_that_is_said(command: Command, study_file: Path) -> None:
    """A study with a sweep block runs with its own values, and a note names the command for the combinations."""
    text = study_file.read_text(encoding="utf-8")
    study_file.write_text(text.replace("sweep: null", "sweep: {grid: {seed: [1, 2]}}"), encoding="utf-8")
    code, _, error = command("run", study_file, "--executor", "inline", "--out", study_file.parent / "out")
    assert (code, "has a sweep block, which `run` leaves out" in error) == (0, True)


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
    arguments = [
        "run",
        str(study_file),
        "--executor",
        executor,
        "--out",
        str(out),
        "--speedup",
        "0.1",
        "--set",
        "run.snapshot_interval_s=0",
    ]
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


def test_the_directory_of_a_broken_off_run_is_resumed(command: Command, tmp_path: Path) -> None:
    """``run DIR --resume`` needs no study file, and refuses a directory where nothing was broken off."""
    out = tmp_path / "run"
    assert kill_at_edge(small_study(tmp_path), out, 5)
    code, _, error = command("run", tmp_path)
    assert (code, error) == (2, f"error: {tmp_path}: is a directory; name a study file\n")
    code, _, error = command("run", tmp_path / "run.partial")
    assert (code, error) == (2, f"error: {out}.partial: is a directory; to resume the run there, add --resume\n")
    for where in (out, tmp_path / "run.partial"):
        code, _, error = command("run", where, "--resume", "--executor", "inline")
        assert (code, error.count("no run was broken off there")) == ((0, 0) if where == out else (2, 1))
    assert (out / "summary.json").exists()
    advice = f"to run its study again, name {out / 'resolved.yaml'}\n"
    code, _, error = command("run", out)
    assert (code, error) == (2, f"error: {out}: is the directory of a complete run; {advice}")
    code, _, error = command("run", out, "--resume")
    assert (code, error) == (2, f"error: {out}: is a complete run, so no run was broken off there; {advice}")


def test_a_run_is_resumed_from_within_what_it_left(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``run . --resume`` goes on with the run whose directory it is called in."""
    assert kill_at_edge(small_study(tmp_path), tmp_path / "run", 5)
    monkeypatch.chdir(tmp_path / "run.partial")
    code, _, error = command("run", ".", "--resume", "--executor", "inline")
    assert (code, error) == (0, "")
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("place", [".", "/", "", "..", ".partial", "nope"])
def test_nothing_to_resume(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A directory that no run has left, and a name at which nothing is, are wrong input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".partial").mkdir()
    code, _, error = command("run", place, "--resume")
    assert code == 2
    assert "no run was broken off there" in error
    assert error.startswith(f"error: {Path(place)}: ")
    assert ("no such file or directory" in error) == (place == "nope")
