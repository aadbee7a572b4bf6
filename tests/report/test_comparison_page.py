"""Tests of the comparison of two runs."""

import re
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.comparison_page import comparison_page
from cluster_sim.report.report_file import write_comparison
from cluster_sim.report.run_data import RunData
from tests.small_run import run_small


def test_two_runs_stand_side_by_side(run_directory: Path, tmp_path: Path) -> None:
    """Figures with their change, distributions on one picture, the parts of time, and only the keys that differ."""
    other = run_small(tmp_path, "workload.count=200", "fleet.pools.0.replicas=4").directory
    page = comparison_page(RunData.read(run_directory), RunData.read(other))
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles == ["Figures", "Distributions", "Where the time goes", "What the studies differ in"]
    assert re.search(r'>GPUs</th><td role="cell" class="number"[^>]*>2</td><td[^>]*>4</td><td[^>]*>\+100.0%</td>', page)
    keys = re.findall(r'data-title="key">([^<]+)<', page)
    assert "fleet.pools.0.replicas" in keys
    assert all(key.startswith(("fleet.pools.0.replicas", "slo")) for key in keys)


def test_a_run_equals_itself(run_directory: Path, tmp_path: Path) -> None:
    """Nothing differs, and the names are told apart; what is no run is refused."""
    file = write_comparison(run_directory, run_directory, tmp_path / "c.html")
    page = file.read_text(encoding="utf-8")
    assert "Nothing: every value of the two studies is the same." in page
    assert f"{run_directory.name} (1)" in page
    with pytest.raises(InputError, match="is not the directory of a complete run"):
        write_comparison(run_directory, tmp_path)
