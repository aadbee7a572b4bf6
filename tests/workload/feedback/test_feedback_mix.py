"""Open-loop and feedback parts together."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.workload.sections import LENGTHS, POISSON, by_session, closed_loop, sessions


def test_mixing_feedback_and_open_loop(drive: Callable[..., Any]) -> None:
    """Parts keep their own behaviour; ids interleave and stay unique."""
    parts = [{"kind": "synthetic", "arrivals": POISSON, "count": 100, "lengths": LENGTHS}, closed_loop(), sessions()]
    source, driven = drive({"kind": "mix", "parts": parts})
    of_part = [[one for one in driven.requests if one.request_id % 3 == part] for part in range(3)]
    assert [one.request_id for one in of_part[0]] == list(range(0, 300, 3))
    assert len(of_part[1]) == 500
    for turns in by_session(of_part[1]).values():
        for one, two in pairwise(turns):
            assert two.request_id == one.request_id + 20 * 3
            assert two.arrival_ns == driven.ends[one.request_id] + 500_000_000
    assert len(by_session(of_part[2])) == 200
    for turns in by_session(of_part[2]).values():
        assert [one.attributes.turn for one in turns] == list(range(len(turns)))
    assert source.think_floor_ns == 1_000_000, "the shortest of the parts"
