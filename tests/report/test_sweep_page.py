"""Tests of the report of a sweep."""

import re
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.report_file import write_report
from cluster_sim.report.sweep_data import SweepData
from cluster_sim.report.sweep_page import front_of, sweep_page
from cluster_sim.study.sweep_directory import RESULTS_FILE
from cluster_sim.study.sweep_table import write_rows


def _row(number: int, replicas: int, policy: str, **figures: Any) -> dict[str, Any]:
    names = {
        "ttft": "ttft_s.p99",
        "tpot": "tpot_s.p99",
        "cost": "usd_per_million_output_tokens",
        "verdict": "slo.verdict",
    }
    return {
        "run": f"{number:05}-abc",
        "fleet.pools.0.replicas": replicas,
        "router.policy": policy,
        "seed": 1,
        "status": "finished",
        "error": None,
        "gpus": replicas,
        "throughput.output_tokens_per_s": 1000.0,
        **{names[name]: value for name, value in figures.items()},
    }


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two policies with one and with four replicas: cheap and slow, dear and fast; one run failed."""
    directory = tmp_path / "sweep"
    directory.mkdir()
    rows = [
        _row(0, 1, "random", ttft=4.0, tpot=0.02, cost=1.0, verdict="missed"),
        _row(1, 1, "least_outstanding", ttft=2.0, tpot=0.02, cost=1.0, verdict="missed"),
        _row(2, 4, "random", ttft=0.5, tpot=0.01, cost=4.0, verdict="met"),
        _row(3, 4, "least_outstanding") | {"status": "failed", "error": "no room for <this>"},
    ]
    write_rows(rows, directory / RESULTS_FILE)
    return directory


def test_a_front_has_what_nothing_else_beats() -> None:
    """Of equal values across, the best one up; a direction may be higher or lower."""
    values = [(1.0, 4.0), (1.0, 2.0), (4.0, 0.5), (3.0, 3.0)]
    assert front_of(values, is_low_better=(True, True)) == [1, 2]
    assert front_of(values, is_low_better=(False, True)) == [2]
    assert front_of([], is_low_better=(True, True)) == []


def test_the_page_says_what_meets_the_objectives_and_what_each_key_does(sweep: Path) -> None:
    """The verdict counts the runs and names the cheapest; effects are ratios of means; only swept keys are columns."""
    page = sweep_page(SweepData.read(sweep))
    assert "1 of 3 runs meet the objectives" in page
    assert "The cheapest of these per output token: replicas 4, policy random" in page
    assert "1 run failed" in page
    assert "no room for &lt;this&gt;" in page
    assert re.findall(r"<h2>([^<]+)</h2>", page) == ["Best compromises", "Main effects", "Runs"]
    # Mean TTFT of one replica: the square root of 4 x 2, of four replicas 0.5.
    assert "5.66 times" in page
    assert 'data-value="4.0"' in page
    assert ">seed<" not in page


def test_the_report_of_a_sweep_is_written_into_it(sweep: Path) -> None:
    """``report`` tells a sweep from a run by its table; a damaged table is named."""
    assert write_report(sweep).read_text(encoding="utf-8") == sweep_page(SweepData.read(sweep))
    (sweep / RESULTS_FILE).write_bytes(b"no table")
    with pytest.raises(InputError, match=r"results.parquet: cannot be read"):
        write_report(sweep)
    write_rows([{"a": 1}], sweep / RESULTS_FILE)
    with pytest.raises(InputError, match=r"results.parquet: is not the table of a sweep"):
        write_report(sweep)


def test_blocks_are_told_in_words(tmp_path: Path) -> None:
    """A swept block, which the table has as JSON, is its keys and values."""
    rows = [_row(n, 1, "random") | {"seed": {"kind": kind, "many": [1, None]}} for n, kind in enumerate(("a", "b"))]
    write_rows(rows, tmp_path / RESULTS_FILE)
    sweep = SweepData.read(tmp_path)
    assert sweep.keys == ("seed",)
    assert sweep.label(sweep.rows[1]) == "seed kind b, many 1; none"


def test_many_numbers_are_grouped_into_ranges(tmp_path: Path) -> None:
    """Twelve values of one key are four ranges of three runs, lowest first."""
    write_rows([_row(n, n + 1, "random", ttft=float(n + 1)) for n in range(12)], tmp_path / RESULTS_FILE)
    page = sweep_page(SweepData.read(tmp_path))
    for label in ("1 to 3", "4 to 6", "7 to 9", "10 to 12"):
        assert f"replicas {label}" in page
    # The geometric means of 10, 11, 12 and of 1, 2, 3.
    assert "6.04 times" in page
