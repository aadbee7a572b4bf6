"""Mean-field estimate of whole studies: figures by hand, agreement with full runs, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.simulation.mean_field.estimate import estimate
from cluster_sim.simulation.mean_field.estimate_figures import estimate_summary
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.small_run import run_small

STEP_S = 0.01
POOL = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "usd_per_gpu_hour": 3.6}


def steady(rate: float = 20.0, pools: tuple[dict[str, Any], ...] = (POOL,), **others: Any) -> Study:
    """Return a study of equal requests at equal distances, whose steps all take 10 ms."""
    return Study.from_dict(
        {
            "workload": {
                "kind": "synthetic",
                "count": 2000,
                "arrivals": {"kind": "constant", "request_rate": rate},
                "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 101}},
            },
            "fleet": {"pools": list(pools)},
            "router": {"policy": "round_robin"},
            "predictor": {"kind": "linear", "alpha_us": STEP_S * 1e6},
            "run": {"detail": "estimate", "warmup": {"kind": "time", "duration_s": 20}, "measure": {"kind": "auto"}},
            **others,
        }
    )


def test_steady_state_by_hand() -> None:
    """Steps of 10 ms give a TPOT of 10 ms; 20 requests/s of 1 s are 20 at once; an hour costs 3.60."""
    summary = estimate_summary(estimate(steady()))
    pool = summary["pools"][0]
    assert summary["tpot_s"]["mean"] == pytest.approx(STEP_S, rel=1e-6)
    assert pool["running_mean"] == pytest.approx(20, rel=0.02)
    assert pool["waiting_mean"] == pytest.approx(0, abs=0.1)
    assert pool["busy_ratio"] == pytest.approx(1.0, abs=0.01)
    assert summary["throughput"]["requests_per_s"] == pytest.approx(20, rel=0.02)
    assert summary["throughput"]["output_tokens_per_s"] == pytest.approx(2020, rel=0.02)
    assert summary["cost_usd"] == pytest.approx((summary["window"]["end_s"] - 20) / 3600 * 3.6)
    assert summary["requests"]["finished"] == pytest.approx(1600, abs=1)
    assert summary["requests"]["total"] == 2000


def test_overload_is_said() -> None:
    """Ten slots of 1 s each serve 10 requests/s: at 20 the load is 2, half of them wait, and a warning says so."""
    pool = {**POOL, "engine": {"kind": "vllm_v1", "max_num_seqs": 10}}
    summary = estimate_summary(estimate(steady(pools=(pool,))))
    assert summary["load_ratio"] == pytest.approx(2.0, rel=0.02)
    assert len(summary["warnings"]) == 1
    assert "of what pool main serves at most" in summary["warnings"][0]
    assert summary["throughput"]["requests_per_s"] == pytest.approx(10, rel=0.05)


def test_weights_split_the_requests() -> None:
    """Weights of 3 and 1 give two pools three quarters and one quarter of the requests."""
    study = steady(
        pools=(POOL, {**POOL, "name": "other"}),
        router={"policy": "weighted", "weights": {"main": 3, "other": 1}},
    )
    counts = [len(pool.load.arrival_s) for pool in estimate(study).pools]
    assert counts == pytest.approx([1500, 500], abs=2)


def test_requests_take_turns_at_the_replicas() -> None:
    """Without weights replica k of n takes every n-th request."""
    load = estimate(steady(pools=({**POOL, "replicas": 4},))).pools[0].load
    assert load.replica[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert np.bincount(load.replica).tolist() == [500] * 4


@pytest.mark.parametrize("engine", ["vllm_v1", "sglang", "sarathi", "vllm_v0"])
def test_agrees_with_full_runs(tmp_path: Path, engine: str) -> None:
    """Mean TPOT, throughput, cost and energy lie within a few percent of those of a full run of the same requests."""
    settings = (
        "workload.count=600",
        f"fleet.pools.0.engine={{kind: {engine}}}",
        "workload.arrivals.request_rate=40",
        "run.warmup={kind: requests, requests: 100}",
        "run.measure={kind: auto}",
    )
    full = run_small(tmp_path, *settings).summary
    found = run_small(tmp_path, *settings, "run.detail=estimate").summary
    assert found["detail"] == "estimate"
    assert found["tpot_s"]["mean"] == pytest.approx(full["tpot_s"]["mean"], rel=0.04)
    for name in ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s"):
        assert found["throughput"][name] == pytest.approx(full["throughput"][name], rel=0.03)
    assert found["cost_usd"] == pytest.approx(full["cost_usd"], rel=0.01)
    assert found["energy"]["energy_j"] == pytest.approx(full["energy"]["energy_j"], rel=0.05)
    assert found["pools"][0]["busy_ratio"] == pytest.approx(full["pools"][0]["busy_ratio"], rel=0.05)


def test_files_say_that_it_is_an_estimate(tmp_path: Path) -> None:
    """The directory has summary, manifest and study alone; no key tells a percentile or a time to the first token."""
    result = run_small(tmp_path, "run.detail=estimate")
    assert sorted(path.name for path in result.directory.iterdir()) == [
        "manifest.json",
        "resolved.yaml",
        "summary.json",
    ]
    summary = json.loads((result.directory / "summary.json").read_text())
    manifest = json.loads((result.directory / "manifest.json").read_text())
    assert summary["detail"] == manifest["detail"] == "estimate"
    assert set(summary["tpot_bias_percent"]) == {"up_to_80_percent", "near_saturation"}
    assert set(summary["tpot_s"]) == {"mean"}
    assert "ttft_s" not in summary
    page = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")
    assert [key for key in _keys(summary) | _keys(manifest) if f"`{key}`" not in page] == []


def _keys(content: Any) -> set[str]:
    """Return every key at any depth."""
    if isinstance(content, dict):
        return {key for name, value in content.items() for key in (name, *_keys(value))}
    return {key for item in content for key in _keys(item)} if isinstance(content, list) else set()


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("faults=[{kind: crash, at_s: 1, replicas: [0]}]", "faults"),
        ("router={policy: session_affinity}", "router.policy"),
        ("router.client_timeout_s=3", "router.client_timeout_s"),
        ("fleet.pools.0.pipeline_parallel=2", "fleet.pools.0.pipeline_parallel"),
        ("fleet.pools.0.engine.policy=sjf", "fleet.pools.0.engine.policy"),
        ("fleet.pools.0.engine={kind: orca}", "fleet.pools.0.engine.kind"),
        ("workload.max_concurrency=4", "workload"),
        ("run.event_trace=true", "run.event_trace"),
        ("run.changes=[{at_s: 1, set: {router.policy: round_robin}}]", "run.changes"),
        ("admission.detector={kind: utilization}", "admission"),
        ("fleet.pools.0.model=gpt-oss-20b", "fleet.pools.0.model"),
    ],
)
def test_what_is_not_covered_is_refused(tmp_path: Path, override: str, key: str) -> None:
    """A study with something that an estimate does not cover is refused, naming its key, and leaves nothing behind."""
    with pytest.raises(InputError, match=f"^{key}: an estimate .* does not cover .*set run.detail: high$"):
        run_small(tmp_path, "run.detail=estimate", override)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_options_of_runs_with_events_are_refused(tmp_path: Path) -> None:
    """Live metrics, resuming and pacing need events, so an estimate refuses them."""
    with pytest.raises(InputError, match=r"^--resume: an estimate"):
        run_study(steady(), RunOptions(out=tmp_path / "out", resumes=True))
    assert not (tmp_path / "out.partial").exists()
