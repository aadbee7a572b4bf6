"""Open-loop and feedback parts together."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from cluster_sim.workload.source import FeedbackSource

LENGTHS = {
    "prompt": {"kind": "uniform", "min": 10, "max": 50},
    "output": {"kind": "uniform", "min": 5, "max": 20},
}
POISSON = {"kind": "poisson", "request_rate": 10}


def fixed(value: float) -> dict[str, Any]:
    return {"kind": "fixed", "value": value}


def sessions(**more: Any) -> dict[str, Any]:
    base = {
        "kind": "sessions", "arrivals": POISSON, "count": 200, "lengths": LENGTHS,
        "turns": {"kind": "geometric", "continue_probability": 0.7, "max": 10},
        "think_time_s": {"kind": "exponential", "mean": 2},
    }  # fmt: skip
    return base | more


def closed_loop(**more: Any) -> dict[str, Any]:
    base = {"kind": "closed_loop", "users": 20, "count": 500, "lengths": LENGTHS, "think_time_s": fixed(0.5)}
    return base | more


def test_mixing_feedback_and_open_loop(drive: Callable[..., Any]) -> None:
    """Parts keep their own behaviour; ids interleave and stay unique."""
    parts = [{"kind": "synthetic", "arrivals": POISSON, "count": 100, "lengths": LENGTHS}, closed_loop(), sessions()]
    source, driven = drive({"kind": "mix", "parts": parts})
    kinds = Counter(one.request_id % 3 for one in driven.requests)
    assert kinds[0] == 100
    assert kinds[1] == 500
    assert source.think_floor_ns == 1_000_000
    alone, _ = drive(closed_loop())
    assert isinstance(alone, FeedbackSource)
