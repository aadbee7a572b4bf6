"""The ``report`` command."""

import json
from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.cli.command import Command

STUDY = """
workload:
  kind: synthetic
  count: 20
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: fixed, value: 100}, output: {kind: fixed, value: 5}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm}]}
"""


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_report_writes_page_and_trace(command: Command, tmp_path: Path) -> None:
    """The page and, when asked for, trace and metrics are written into the run, whose own files stay as they were."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    run = run_study(load_study(study), RunOptions(executor="inline", out=tmp_path / "run")).directory
    before = _contents(run)
    code, text, error = command("report", run, "--trace", "--openmetrics")
    names = ("report.html", "trace.json", "openmetrics.txt")
    assert (code, error) == (0, "")
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("Wrote")] == [f"Wrote {run / name}" for name in names]
    assert lines[0].startswith("OpenMetrics: ")  # The size comes before the file.
    after = _contents(run)
    assert json.loads(after["trace.json"])
    assert after["openmetrics.txt"].endswith(b"# EOF\n")
    assert {name: data for name, data in after.items() if name not in names} == before


def test_a_damaged_table_leaves_no_page(command: Command, tmp_path: Path) -> None:
    """Where one of the files cannot be made, the others are not there either; options of absent ones are refused."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    run = run_study(load_study(study), RunOptions(executor="inline", out=tmp_path / "run")).directory
    (run / "counters.parquet").write_bytes(b"none")
    before = _contents(run)
    code, text, error = command("report", run, "--trace", "--openmetrics")
    assert code == 2
    assert error.startswith(f"error: {run / 'counters.parquet'}: ")
    assert "Wrote" not in text
    assert _contents(run) == before
    for option, needed in (("--epoch", "--openmetrics"), ("--step", "--openmetrics"), ("--trace-slowest", "--trace")):
        code, _, error = command("report", run, option, "5")
        assert (code, error.split(";")[0]) == (2, f"error: {option}: has no effect without {needed}")


def test_no_run_is_wrong_input(command: Command, tmp_path: Path) -> None:
    """A directory without a run gives code 2 and one message."""
    code, text, error = command("report", tmp_path)
    assert (code, text) == (2, "")
    assert error == f"error: {tmp_path}: is not the directory of a complete run: it has no summary.json\n"


def test_a_directory_that_is_none_is_named(command: Command, tmp_path: Path) -> None:
    """The fault is that of the argument, not of the page that would be written into it."""
    (tmp_path / "file").write_text("text", encoding="utf-8")
    for name, fault in (("file", "it is a file"), ("nothing", "there is none")):
        code, text, error = command("report", tmp_path / name)
        assert (code, text) == (2, "")
        assert error == f"error: {tmp_path / name}: is not the directory of a complete run or sweep: {fault}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trace-gzip"], "--trace-gzip: has no effect without --trace; add it, or leave --trace-gzip out"),
        (["--trace-window", "0:1", "--openmetrics"], "--trace-window: has no effect without --trace"),
        (["--gzip", "--trace"], "--gzip: has no effect without --openmetrics"),
        (["--openmetrics", "--step", "inf"], "--step inf: must be a finite number of simulated seconds"),
        (["--trace", "--trace-replicas", "1"], "--trace-replicas: there is no replica 1; they are numbered 0 to 0"),
    ],
)
def test_wrong_options_write_nothing(command: Command, tmp_path: Path, options: list[str], message: str) -> None:
    """Options that say nothing together, or are wrong for the run, give code 2 before anything is written."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    run = run_study(load_study(study), RunOptions(executor="inline", out=tmp_path / "run")).directory
    before = _contents(run)
    code, text, error = command("report", run, *options)
    assert (code, text) == (2, "")
    assert message in error
    assert _contents(run) == before


@pytest.mark.parametrize("option", ["--trace", "--openmetrics"])
def test_a_sweep_has_no_trace_or_metrics(command: Command, tmp_path: Path, option: str) -> None:
    """A directory with a sweep's table alone is refused, and no page of it is written."""
    (tmp_path / "results.parquet").touch()
    code, text, error = command("report", tmp_path, option)
    assert (code, text) == (2, "")
    assert error == f"error: {tmp_path}: is not the directory of a complete run: it has no summary.json\n"
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]
