"""A client with a limit of requests in flight."""

from collections.abc import Callable
from typing import Any

from tests.workload.sections import LENGTHS, POISSON


def test_limited_client_is_a_semaphore(drive: Callable[..., Any], rows: Callable[..., Any]) -> None:
    """Requests leave in order, on time while there is room, else when a place is free: as a queue of 8 servers."""
    section = {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "request_rate": 20},
        "count": 3000,
        "lengths": LENGTHS,
    }
    wanted = rows(section).arrival_ns.tolist()
    source, driven = drive({**section, "max_concurrency": 8}, service_ns=lambda one: 10**7 * one.output_tokens)
    assert source.think_floor_ns == 1
    assert driven.most_in_flight == 8
    assert [one.request_id for one in driven.requests] == list(range(3000))
    free: list[int] = []
    for request, due in zip(driven.requests, wanted, strict=True):
        start = due if len(free) < 8 else max(due, sorted(free)[-8] + 1)
        assert request.arrival_ns == start
        free.append(start + 10**7 * request.output_tokens)
        free = sorted(free)[-8:]


def test_a_reaction_time_is_lookahead(drive: Callable[..., Any]) -> None:
    """A client that takes 5 ms to react gives the simulation 5 ms."""
    section = {"kind": "synthetic", "arrivals": POISSON, "count": 50, "lengths": LENGTHS}
    source, _ = drive({**section, "max_concurrency": 2, "reaction_ms": 5})
    assert source.think_floor_ns == 5_000_000
