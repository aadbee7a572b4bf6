"""``auto`` chooses by the coupling factor: hand-computed values, and a reason for each answer."""

from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.executor_choice import ExecutorChoice, choose_executor
from cluster_sim.simulation.plan import make_plan


def choice(
    policy: str, replicas: int, rate: float, count: int, period_ms: float = 50.0, cpus: int = 2
) -> ExecutorChoice:
    workload: dict[str, Any] = {
        "kind": "synthetic",
        "count": count,
        "arrivals": {"kind": "constant", "request_rate": rate},
        "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 100}},
    }
    study = Study.model_validate(
        {
            "name": "choice",
            "workload": workload,
            "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "replicas": replicas}]},
            "router": {"policy": policy, "telemetry": {"period_ms": period_ms, "latency_ms": 0.0}},
        },
        strict=False,
    )
    return choose_executor(make_plan(study).simulation(), cpus)


def test_wide_windows_go_parallel() -> None:
    """Telemetry every 50 ms at 4,000 requests/s: 200 requests, 20 ms of work, over 0.6 ms a round are lambda 33."""
    chosen = choice("least_loaded", 1024, 4_000.0, 1_000_000)
    assert chosen.executor == "ray"
    assert chosen.coupling_factor == pytest.approx(200 / 10_000 / 600e-6, rel=0.01)
    assert "coupling factor 33" in chosen.reason


def test_narrow_windows_stay_inline() -> None:
    """At 40 requests/s the same period holds 2 requests: lambda 0.33, slower than one process."""
    chosen = choice("least_loaded", 8, 40.0, 1_000_000)
    assert chosen.executor == "inline"
    assert chosen.coupling_factor == pytest.approx(2 / 10_000 / 600e-6, rel=0.01)
    assert "coupling factor 0.33 (2 requests between two synchronisations)" in chosen.reason


def test_perfect_knowledge_stays_inline() -> None:
    """A probe at every decision leaves one request between two rounds, however many arrive."""
    chosen = choice("least_loaded", 1024, 4_000.0, 1_000_000, period_ms=0.0)
    assert chosen.executor == "inline"
    assert "(1 request between two synchronisations)" in chosen.reason


def test_run_ahead_counts() -> None:
    """A router that observes nothing runs ahead to the limit of its memory: 8,192 requests a round."""
    chosen = choice("round_robin", 1024, 4_000.0, 1_000_000)
    assert chosen.executor == "ray"
    assert chosen.coupling_factor == pytest.approx(8_192 / 10_000 / 600e-6)
    assert "coupling factor 1,365.33 (8,192 requests between two synchronisations)" in chosen.reason


@pytest.mark.parametrize(
    ("replicas", "count", "cpus", "reason"),
    [
        (1, 1_000_000, 2, "1 actor would be"),
        (8, 1_000_000, 1, "1 actor would be"),
        (8, 3_000, 2, "the run is too short to start Ray for"),
    ],
)
def test_small_runs_stay_inline(replicas: int, count: int, cpus: int, reason: str) -> None:
    """One replica, one CPU, or less work than Ray takes to start: one process."""
    chosen = choice("round_robin", replicas, 4_000.0, count, cpus=cpus)
    assert chosen.executor == "inline"
    assert reason in chosen.reason
