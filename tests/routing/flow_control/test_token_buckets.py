"""Token buckets by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.token_buckets import RateLimit, RateLimits, TokenBucket
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000


def request(number: int, tenant: str, prompt: int = 10, output: int = 5) -> Request:
    return Request(number, 0, prompt, output, Attributes(tenant=tenant))


def test_a_bucket_fills_at_its_rate_up_to_its_size() -> None:
    """Two at once, then one each half second; after a long pause two again."""
    bucket = TokenBucket(2.0, 2)
    for now_ns, is_there in ((0, True), (0, True), (0, False), (S // 2 - 1, False), (S // 2, True), (100 * S, True)):
        assert bucket.has(1, now_ns) == is_there, now_ns
        if is_there:
            bucket.take(1)
    assert bucket.has(1, 100 * S)
    bucket.take(1)
    assert not bucket.has(1, 100 * S)


def test_both_buckets_of_a_tenant_must_hold_it() -> None:
    """Requests of 15 tokens, 20 at once: the second is refused for its tokens, and takes no request from the bucket."""
    limits = RateLimits([RateLimit(tenant="a", requests_per_s=1, burst_requests=2, tokens_per_s=15, burst_tokens=20)])
    assert limits.try_take(request(0, "a"), 0)
    assert not limits.try_take(request(1, "a"), 0)
    assert limits.try_take(request(2, "a"), S)
    assert limits.try_take(request(3, "b"), S)


def test_tenants_without_a_limit_of_their_own_have_one_each() -> None:
    """One a second for each other tenant; a has ten."""
    limits = RateLimits([RateLimit(requests_per_s=1), RateLimit(tenant="a", requests_per_s=1, burst_requests=10)])
    taken = [limits.try_take(request(number, tenant), 0) for number, tenant in enumerate("aabbcc")]
    assert taken == [True, True, True, False, True, False]


def test_prompt_tokens_alone_can_count() -> None:
    """A request of 10 + 5 tokens fits 10 if only the prompt counts."""
    assert RateLimits([RateLimit(tokens_per_s=1, burst_tokens=10, counts="prompt")]).try_take(request(0, "a"), 0)
    assert not RateLimits([RateLimit(tokens_per_s=1, burst_tokens=10)]).try_take(request(0, "a"), 0)


@given(st.lists(st.integers(0, 3 * S), max_size=50), st.floats(0.01, 1000), st.integers(1, 10))
def test_no_more_than_burst_and_rate_pass(gaps_ns: list[int], rate: float, size: int) -> None:
    """In any time t a bucket gives at most its size + rate * t."""
    bucket = TokenBucket(rate, size)
    now_ns = taken = 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        if bucket.has(1, now_ns):
            bucket.take(1)
            taken += 1
        assert taken <= size + rate * 1.000001 * now_ns / S + 1e-6 * now_ns / S


def test_limits_that_contradict_or_limit_nothing_are_refused() -> None:
    """A limit needs a rate, and a tenant has one limit."""
    with pytest.raises(ValidationError, match="limits nothing"):
        RateLimit(tenant="a")
    with pytest.raises(ValidationError, match="two limits are for tenant 'a'"):
        AdmissionOptions.model_validate({"rate_limits": [{"tenant": "a", "requests_per_s": 1}] * 2})
    with pytest.raises(ValidationError, match="two limits are for every other tenant"):
        AdmissionOptions.model_validate({"rate_limits": [{"requests_per_s": 1}] * 2})
