"""The ``report`` command."""

import json
import sys
from pathlib import Path

import pytest

from cluster_sim.cli.app import main
from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

STUDY = """
workload:
  kind: synthetic
  count: 20
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: fixed, value: 100}, output: {kind: fixed, value: 5}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm}]}
"""


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cluster-sim", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_report_writes_page_and_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The page and, when asked for, trace and metrics are written into the run, which stays whole."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    run = run_study(load_study(study), RunOptions(executor="inline", out=tmp_path / "run")).directory
    assert _call(monkeypatch, "report", str(run), "--trace", "--openmetrics") == 0
    names = ("report.html", "trace.json", "openmetrics.txt")
    assert capsys.readouterr().out.splitlines() == [f"Wrote {run / name}" for name in names]
    assert json.loads((run / "trace.json").read_text())
    assert not list(run.glob("*.partial"))


def test_no_run_is_wrong_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A directory without a run gives code 2 and one message."""
    assert _call(monkeypatch, "report", str(tmp_path)) == 2
    assert "is not the directory of a complete run" in capsys.readouterr().err
