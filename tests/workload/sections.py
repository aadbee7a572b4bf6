"""Workload sections that many tests start from, and what they ask of the requests made."""

from collections import defaultdict
from typing import Any

from cluster_sim.workload.request import Request

LENGTHS = {
    "prompt": {"kind": "uniform", "min": 10, "max": 50},
    "output": {"kind": "uniform", "min": 5, "max": 20},
}
LONGER = {
    "prompt": {"kind": "uniform", "min": 100, "max": 200},
    "output": {"kind": "uniform", "min": 5, "max": 20},
}
LONG_TAILED = {
    "prompt": {"kind": "lognormal", "mean": 800, "std": 600, "max": 8000},
    "output": {"kind": "gamma", "shape": 2, "scale": 100},
    "correlation": 0.4,
}
POISSON = {"kind": "poisson", "request_rate": 10}
AGENT = {
    "kind": "agentic",
    "arrivals": POISSON,
    "count": 100,
    "steps": [
        {"name": "plan", "lengths": LENGTHS},
        {"name": "tool", "after": ["plan"], "wait_s": {"kind": "exponential", "mean": 1},
         "repeat": {"kind": "uniform", "min": 1, "max": 4}, "lengths": LENGTHS},
        {"name": "check", "after": ["tool"], "probability": 0.5, "context": "first", "lengths": LENGTHS},
        {"name": "answer", "after": ["check", "plan"], "lengths": LENGTHS},
    ],
}  # fmt: skip


def fixed(value: float) -> dict[str, Any]:
    return {"kind": "fixed", "value": value}


def synthetic(rate: float = 10, **more: Any) -> dict[str, Any]:
    """Return a section of 2,000 Poisson arrivals."""
    arrivals = {"kind": "poisson", "request_rate": rate}
    return {"kind": "synthetic", "arrivals": arrivals, "lengths": LONGER, "count": 2000} | more


def long_tailed(**more: Any) -> dict[str, Any]:
    """Return a section of 20,000 Poisson arrivals with correlated lengths of a long tail."""
    return synthetic(lengths=LONG_TAILED, count=20_000) | more


def sessions(**more: Any) -> dict[str, Any]:
    """Return a section of 200 conversations."""
    base = {
        "kind": "sessions", "arrivals": POISSON, "count": 200, "lengths": LENGTHS,
        "turns": {"kind": "geometric", "continue_probability": 0.7, "max": 10},
        "think_time_s": {"kind": "exponential", "mean": 2},
    }  # fmt: skip
    return base | more


def closed_loop(**more: Any) -> dict[str, Any]:
    """Return a section of 20 users who think for half a second."""
    base = {"kind": "closed_loop", "users": 20, "count": 500, "lengths": LENGTHS, "think_time_s": fixed(0.5)}
    return base | more


def by_session(requests: list[Request]) -> dict[int, list[Request]]:
    """Return the requests of each session (user), in the order given."""
    found: dict[int, list[Request]] = defaultdict(list)
    for request in requests:
        found[request.attributes.session_id].append(request)
    return found
