"""Capacity and comparison from Python."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim import InputError, Study, capacity, compare, simulate, sweep
from cluster_sim.document import Document
from cluster_sim.study.capacity_study import CapacityOptions, CapacityResult, row_of
from cluster_sim.study.variants import Variant

SMALL: dict[str, Any] = {
    "name": "small",
    "workload": {
        "kind": "synthetic",
        "count": 200,
        "arrivals": {"kind": "poisson", "request_rate": 10},
        "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 20}},
    },
    "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": {"num_kv_blocks": 500}}]},
    "predictor": {"kind": "linear", "alpha_us": 20000},
    "slo": {"ttft_mean_s": 0.5},
}


@pytest.fixture
def study() -> Study:
    """A server whose steps take about 20 ms."""
    return Study.from_dict(SMALL)


def test_runs_and_sweeps_are_compared(study: Study, tmp_path: Path) -> None:
    """Twice the load has later first tokens for more than chance; equal runs are equal."""
    first, second = simulate(study), simulate(study.with_changes({"workload.arrivals.request_rate": 40}))
    table = compare(first, second)
    rows = table.differences.set_index("figure")
    assert rows.loc["ttft_mean_s", "second"] == pytest.approx(second.figures["ttft_s"]["mean"], rel=0.2)
    assert "ComparisonTable" in repr(table)
    assert "<table" in table._repr_html_()
    assert set(compare(first, first).differences.finding) == {"equal"}
    grid = {"workload.arrivals.request_rate": [5, 10], "seed": [1, 2]}
    swept = [sweep(study, grid, tmp_path / name, executor="inline") for name in ("a", "b")]
    assert "workload.arrivals.request_rate" in compare(*swept).differences
    with pytest.raises(InputError):
        compare(first, tmp_path / "nothing.json")


def test_capacity_has_a_row_per_configuration(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid, the directory and the precision reach the search; its rows become a data frame."""
    seen: list[Any] = []

    def search(_path: Path, document: Document, options: CapacityOptions, *pool: Any) -> CapacityResult:
        seen.extend([document.data["sweep"]["grid"], options, pool])
        variants = [Variant(index, {"seed": index}, None, "no such luck") for index in (1, 2)]
        return CapacityResult(tmp_path, [row_of(variant, InputError("no such luck")) for variant in variants])

    monkeypatch.setattr("cluster_sim.api.capacity.run_capacity", search)
    table = capacity(study, {"seed": [1, 2]}, tmp_path / "capacity", tolerance=0.05, processes=1)
    grid, options, (pool,) = seen
    assert grid == {"seed": [1, 2]}
    assert (options.out, options.tolerance_ratio, pool.slots) == (tmp_path / "capacity", 0.05, 1)
    assert list(table.configurations.seed) == [1, 2]
    assert list(table.configurations.error) == ["no such luck"] * 2
    assert "CapacityTable of 2" in repr(table)
    assert "requests_per_s" in table._repr_html_()
    assert table.directory == tmp_path
