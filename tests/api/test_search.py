"""A search with Optuna from Python."""

import sys
from pathlib import Path
from typing import Any

import pytest

from cluster_sim import InputError, search
from cluster_sim.study.sweep_directory import RESULTS_FILE
from tests.small_run import small_study

RANGES: dict[str, Any] = {
    "fleet.pools.0.replicas": {"min": 1, "max": 4, "is_whole": True},
    "router.policy": ["random", "least_outstanding"],
}


def test_the_cheapest_fleet_within_the_limits_is_found(tmp_path: Path) -> None:
    """Four runs; the best keeps the limit and is the cheapest of those that do; resumed, the search goes on alike."""
    pytest.importorskip("optuna")
    study = small_study(tmp_path, "workload.count=20", "run.series_interval_s=0", "slo={ttft_p50_s: 10}")
    whole = search(study, RANGES, minimize="cost_usd", runs=4, seed=3)
    met = [row["cost_usd"] for row in whole.rows if row["slo.verdict"] == "met"]
    assert whole.best["cost_usd"] == min(met)
    assert whole.winner.fleet.pools[0].replicas == whole.best["fleet.pools.0.replicas"]
    out = tmp_path / "search"
    first = search(study, RANGES, minimize="cost_usd", runs=2, seed=3, out=out)
    assert first.rows == whole.rows[:2]
    resumed = search(study, RANGES, minimize="cost_usd", runs=4, seed=3, out=out)
    assert resumed.rows == whole.rows
    assert (out / RESULTS_FILE).is_file()
    assert len(resumed.runs) == 4


def test_a_directory_of_another_search_is_refused(tmp_path: Path) -> None:
    """Another study of the same name, another figure, other ranges, another seed, or no search at all."""
    pytest.importorskip("optuna")
    study, out = small_study(tmp_path, "workload.count=10"), tmp_path / "search"
    kept = search(study, RANGES, minimize="cost_usd", runs=1, out=out)
    other = study.with_changes({"workload.count": 11})
    with pytest.raises(InputError, match=r"search: holds another search .*: workload\.count is 10 there and 11 here"):
        search(other, RANGES, minimize="cost_usd", runs=1, out=out)
    with pytest.raises(InputError, match=r"minimize is 'cost_usd' there and absent here, maximize is absent there"):
        search(study, RANGES, maximize="cost_usd", runs=1, out=out)
    with pytest.raises(InputError, match="seed is 0 there and 1 here; give another out"):
        search(study, RANGES, minimize="cost_usd", runs=1, out=out, seed=1)
    with pytest.raises(InputError, match=r"holds another search: ranges is .* there and .* here"):
        search(study, {**RANGES, "router.policy": ["random"]}, minimize="cost_usd", runs=1, out=out)
    assert search(study, RANGES, minimize="cost_usd", runs=1, out=out).rows == kept.rows
    with pytest.raises(InputError, match=r"is not the directory of a search: it has no search\.yaml"):
        search(study, RANGES, minimize="cost_usd", runs=1, out=tmp_path)


def test_a_configuration_that_fails_is_a_row(tmp_path: Path) -> None:
    """A tensor parallelism that does not divide the heads fails; the search goes on."""
    pytest.importorskip("optuna")
    study = small_study(tmp_path, "workload.count=10")
    found = search(study, {"fleet.pools.0.tensor_parallel": [1, 3]}, maximize="throughput.requests_per_s", runs=4)
    failed = [row for row in found.rows if row["fleet.pools.0.tensor_parallel"] == 3]
    assert all(row["status"] == "failed" and "tensor_parallel" in row["error"] for row in failed)
    assert found.best["fleet.pools.0.tensor_parallel"] == 1


def test_wrong_searches_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two directions, a wrong range, an unknown figure; without Optuna the message says how to install it."""
    study = small_study(tmp_path, "workload.count=10")
    with pytest.raises(InputError, match="give one of minimize and maximize"):
        search(study, RANGES)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "optuna", None)
        with pytest.raises(InputError, match=r"pip install 'cluster-sim\[optuna\]'"):
            search(study, RANGES, minimize="cost_usd")
    pytest.importorskip("optuna")
    with pytest.raises(InputError, match=r"ranges\.seed: .*max|search: ranges\.seed"):
        search(study, {"seed": {"min": 2, "max": 1}}, minimize="cost_usd")
    with pytest.raises(InputError, match="no run has the figure 'cost_us'; did you mean 'cost_usd'"):
        search(study, RANGES, minimize="cost_us", runs=1)
