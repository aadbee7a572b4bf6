"""Shown estimates: the terminal table, and commands that need requests."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cluster_sim.api.result import Result
from cluster_sim.errors import InputError
from cluster_sim.report.run_data import RunData
from cluster_sim.report.terminal import TerminalView
from cluster_sim.study.comparison_sides import read_run
from cluster_sim.study.planning.plan_run import run_plan
from cluster_sim.study.replications import replicate
from cluster_sim.study.validation_report import validation_report
from tests.small_run import run_small, small_study


def test_terminal_says_that_it_is_an_estimate(tmp_path: Path) -> None:
    """The table has means and says how far they may be off; no percentile is in it."""
    summary = run_small(tmp_path, "run.detail=estimate").summary
    out = io.StringIO()
    TerminalView(Console(file=out, width=80)).finished(summary, ["results in here"])
    text = out.getvalue()
    assert "Estimate (no simulation)" in text
    assert "mean TPOT differs from that of full runs by" in text
    assert "results in here" in text
    assert "p99" not in text


def test_commands_that_need_requests_refuse_it(tmp_path: Path) -> None:
    """Report and comparison say that the directory is an estimate; the Python result has no verdict."""
    directory = run_small(tmp_path, "run.detail=estimate").directory
    for read in (RunData.read, read_run):
        with pytest.raises(InputError, match="is an estimate"):
            read(directory)
    result = Result.load(directory)
    assert result.is_estimate
    assert result.verdict is None
    assert "estimate" in repr(result)


def test_searches_refuse_it(tmp_path: Path) -> None:
    """Replications and plans judge requests, so they refuse a study whose runs are estimates."""
    study = small_study(tmp_path, "run.detail=estimate", "slo.tpot_p99_s=0.1")
    with pytest.raises(InputError, match=r"^run\.detail: estimate has no requests"):
        replicate(study, 1)
    with pytest.raises(InputError, match=r"^run\.detail: estimate has no requests"):
        run_plan(study, tmp_path / "plan")
    assert not (tmp_path / "plan").exists()


def test_validate_refuses_what_is_not_covered(tmp_path: Path) -> None:
    """A study that an estimate covers is valid; one that it does not is refused before it is run."""
    assert "detail: estimate" in validation_report(small_study(tmp_path, "run.detail=estimate"))
    with pytest.raises(InputError, match=r"^router\.client_timeout_s: an estimate"):
        validation_report(small_study(tmp_path, "run.detail=estimate", "router.client_timeout_s=1"))
