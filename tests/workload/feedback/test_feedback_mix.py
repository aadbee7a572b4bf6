"""Open-loop and feedback parts together."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from cluster_sim.workload.source import FeedbackSource
from tests.workload.sections import LENGTHS, POISSON, closed_loop, sessions


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
