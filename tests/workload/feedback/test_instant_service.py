"""Workloads that react, looked at without a simulation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.workload.sections import LENGTHS

POISSON = {"kind": "poisson", "request_rate": 50}
SESSIONS = {
    "kind": "sessions",
    "arrivals": POISSON,
    "count": 3000,
    "turns": {"kind": "fixed", "value": 4},
    "lengths": LENGTHS,
    "think_time_s": {"kind": "exponential", "mean": 3},
}


def test_every_turn_is_there_in_order_of_time(rows: Callable[..., Any]) -> None:
    """All turns of all sessions, each a think time after the one before, and a notice that nothing was simulated."""
    notices: list[str] = []
    block = rows(SESSIONS, notices=notices)
    assert len(block) == 12_000
    assert (np.diff(block.arrival_ns) >= 0).all()
    last: dict[int, int] = {}
    for arrival, one in zip(block.arrival_ns.tolist(), block.attributes, strict=True):
        assert one.turn == 0 or arrival - last[one.session_id] >= 1_000_000
        last[one.session_id] = arrival
    assert len(last) == 3000
    assert notices == [
        "later requests depend on how earlier ones fare; shown as if each were served the moment it arrives"
    ]


def test_limited_clients_are_the_open_loop_then(rows: Callable[..., Any]) -> None:
    """Served at once, nothing is in flight, so a limit never holds a request back by more than a reaction."""
    section = {"kind": "synthetic", "arrivals": POISSON, "count": 2000, "lengths": LENGTHS}
    free, held = rows(section), rows({**section, "max_concurrency": 1})
    assert np.array_equal(free.prompt_tokens, held.prompt_tokens)
    assert (held.arrival_ns - free.arrival_ns).min() >= 0
    assert (held.arrival_ns - free.arrival_ns).max() <= 5
