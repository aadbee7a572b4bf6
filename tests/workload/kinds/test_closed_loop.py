"""N users: send, wait, think, send."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.workload.sections import by_session, closed_loop


def test_closed_loop_keeps_one_request_a_user(drive: Callable[..., Any]) -> None:
    """Never more in flight than users; ids are user + turn * users; thinking takes its time."""
    source, driven = drive(closed_loop())
    assert driven.most_in_flight <= 20
    assert sorted(driven.ends) == list(range(500))
    assert source.think_floor_ns == 500_000_000, "a fixed thought is all lookahead"
    by_user = by_session(driven.requests)
    assert len(by_user) == 20
    for user, turns in by_user.items():
        assert [one.request_id for one in turns] == [user + turn * 20 for turn in range(25)]
        for one, two in itertools.pairwise(turns):
            assert two.arrival_ns - driven.ends[one.request_id] == 500_000_000


def test_closed_loop_throughput_follows_littles_law(drive: Callable[..., Any]) -> None:
    """N users with think time Z and response time R make N / (R + Z) requests a second."""
    section = closed_loop(
        users=50, count=None, duration_s=2000, think_time_s={"kind": "exponential", "mean": 4}, ramp_s=5
    )
    _, driven = drive(section, service_ns=lambda _: 10**9)
    assert len(driven.requests) / 2000 == pytest.approx(50 / 5, rel=0.02)
    assert max(one.arrival_ns for one in driven.requests) < 2000 * 10**9


def test_closed_loop_users_go_on_after_failures(drive: Callable[..., Any]) -> None:
    """A user sends the next request whatever became of the last."""
    _, driven = drive(closed_loop(), status=lambda _: "refused")
    assert len(driven.requests) == 500


def test_more_users_than_requests(drive: Callable[..., Any]) -> None:
    """A count below the number of users is kept; a ramp spreads the starts."""
    _, driven = drive(closed_loop(users=100, count=30, ramp_s=10))
    assert [one.arrival_ns for one in driven.requests] == [user * 10**8 for user in range(30)]
