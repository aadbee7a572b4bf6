"""Tests of the comparison of two runs."""

import re
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.comparison_page import comparison_page
from cluster_sim.report.comparison_report import difference_cells
from cluster_sim.report.report_file import write_comparison
from cluster_sim.study.comparison import difference_of
from cluster_sim.study.sweep_table import write_rows
from tests.small_run import run_small


def test_two_runs_stand_side_by_side(run_directory: Path, tmp_path: Path) -> None:
    """Figures with their change, distributions on one picture, the parts of time, and only the keys that differ."""
    other = run_small(tmp_path, "workload.count=200", "fleet.pools.0.replicas=4").directory
    page = comparison_page(run_directory, other)
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles == ["Distributions", "Figures", "Where the time goes", "What the studies differ in"]
    cells = re.search(r">gpu_hours</th>(.*?)</tr>", page)
    assert cells
    assert re.search(r"\+100\.\d%", cells[1])
    assert "ttft_p99_s" in page
    keys = re.findall(r'data-title="key">([^<]+)<', page)
    assert "fleet.pools.0.replicas" in keys
    assert all(key.startswith(("fleet.pools.0.replicas", "slo")) for key in keys)


def test_a_run_equals_itself(run_directory: Path, tmp_path: Path) -> None:
    """Nothing differs, and the names are told apart; what is no run is refused."""
    file = write_comparison(run_directory, run_directory, tmp_path / "c.html")
    page = file.read_text(encoding="utf-8")
    assert "Nothing: every value of the two studies is the same." in page
    assert f"{run_directory.name} (1)" in page
    with pytest.raises(InputError, match="run"):
        write_comparison(run_directory, tmp_path)


def test_two_sweeps_are_compared_by_configuration(tmp_path: Path) -> None:
    """Each configuration has a table of its own, headed by its keys."""
    sides = []
    for number in (1, 2):
        directory = tmp_path / f"sweep{number}"
        directory.mkdir()
        figures = dict.fromkeys(("ttft_s.p99", "throughput.requests_per_s"), 0.5 * number)
        rows = [
            {"run": f"{index}-a", "fleet.pools.0.replicas": index, "status": "finished", "error": None, **figures}
            for index in (1, 2)
        ]
        write_rows(rows, directory / "results.parquet")
        (directory / "sweep.yaml").write_text("sweep: {grid: {fleet.pools.0.replicas: [1, 2]}}\n", encoding="utf-8")
        sides.append(directory)
    page = comparison_page(*sides)
    assert "<caption>fleet.pools.0.replicas 1</caption>" in page
    assert "Distributions" not in page


def test_a_damaged_study_is_named(run_directory: Path, tmp_path: Path) -> None:
    """A run whose resolved.yaml is no YAML cannot be compared by its keys: the file and the line are told."""
    other = run_small(tmp_path, "workload.count=20").directory
    resolved = other / "resolved.yaml"
    resolved.write_text(resolved.read_text(encoding="utf-8") + "a: [1\nb\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"resolved\.yaml:\d+: not valid YAML"):
        write_comparison(run_directory, other, tmp_path / "c.html")


def test_large_changes_have_no_decimals() -> None:
    """From tenfold on a change is told in whole per cents."""
    texts = [difference_cells(difference_of("ttft_p99_s", 0.1, second, None))[5] for second in (0.2, 1.05, 51.2, 0.05)]
    assert texts == ["+100.0%", "+950.0%", "+51,100%", "-50.0%"]
