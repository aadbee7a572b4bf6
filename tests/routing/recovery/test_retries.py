"""Retries by hand: delays, budget, and what is retried."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster_sim.routing.recovery.failures import Failure
from cluster_sim.routing.recovery.retries import RetryPolicy
from cluster_sim.routing.recovery.retry_options import RetryOptions

MS = 1_000_000


def policy_of(**options: Any) -> RetryPolicy:
    return RetryPolicy(RetryOptions.model_validate(options), 7)


def test_delays_grow_up_to_a_limit() -> None:
    """50, 75, 112.5, 168.75 ms ... and 30 s at most: SGLang's defaults without jitter."""
    policy = policy_of(back_off={"jitter_ratio": 0})
    assert [policy.delay_ns(0, retry) for retry in range(4)] == [50 * MS, 75 * MS, 112_500_000, 168_750_000]
    assert policy.delay_ns(0, 16) == 30_000 * MS


@given(st.integers(0, 10**12), st.integers(0, 999))
def test_jitter_stays_in_its_range_and_is_keyed(request_id: int, retry: int) -> None:
    """A delay of 100 ms is drawn from 80 to 120 ms, the same for the same request and retry."""
    options = {"back_off": {"initial_ms": 100, "max_ms": 100, "jitter_ratio": 0.2}}
    delay_ns = policy_of(**options).delay_ns(request_id, retry)
    assert 80 * MS <= delay_ns <= 120 * MS
    assert policy_of(**options).delay_ns(request_id, retry) == delay_ns


def test_jitter_spreads() -> None:
    """Over 1,000 requests the mean is near 100 ms and both ends are nearly reached."""
    policy = policy_of(back_off={"initial_ms": 100, "jitter_ratio": 0.2})
    delays_ns = [policy.delay_ns(number, 0) for number in range(1000)]
    assert sum(delays_ns) / 1000 == pytest.approx(100 * MS, rel=0.02)
    assert min(delays_ns) < 81 * MS
    assert max(delays_ns) > 119 * MS


def test_what_is_retried() -> None:
    """Failures that are listed, while retries are left and no token has been seen; the reason says why not."""
    policy = policy_of(max_retries=2, retry_on=["unreachable", "crash"])
    assert policy.decide(0, 0, Failure("unreachable"), 1).reason == ""
    assert policy.decide(0, 1, Failure("crash"), 1).reason == ""
    assert policy.decide(0, 2, Failure("crash"), 1).reason == "retries_exhausted"
    assert policy.decide(0, 0, Failure("attempt_timeout"), 1).reason == "attempt_timeout"
    assert policy.decide(0, 0, Failure("crash", 1), 1).reason == "crash"
    assert policy_of(begun_streams=True).decide(0, 0, Failure("crash", 1), 1).reason == ""
    assert policy_of(max_retries=0).decide(0, 0, Failure("unreachable"), 1).reason == "unreachable"


def test_the_budget_is_a_share_of_the_requests_under_way() -> None:
    """Of 100 requests 20 retries may be under way, of 5 three; then a failure is final."""
    policy = policy_of(budget={"ratio": 0.2, "min_concurrent": 3})
    policy.budget.under_way = 19
    assert policy.decide(0, 0, Failure("unreachable"), 100).reason == ""
    policy.budget.under_way = 20
    assert policy.decide(0, 0, Failure("unreachable"), 100).reason == "retries_exhausted"
    policy.budget.under_way = 2
    assert policy.decide(0, 0, Failure("unreachable"), 5).reason == ""
    policy.budget.under_way = 3
    assert policy.decide(0, 0, Failure("unreachable"), 5).reason == "retries_exhausted"


def test_a_first_delay_above_the_longest_is_refused() -> None:
    """initial_ms may not exceed max_ms."""
    with pytest.raises(ValidationError, match="initial_ms: 50 is above max_ms: 10"):
        RetryOptions.model_validate({"back_off": {"max_ms": 10}})
