"""Circuit breakers by hand."""

from typing import Any

from cluster_sim.routing.recovery.circuit_breaker import BreakerState, CircuitBreaker, CircuitBreakerOptions

S = 1_000_000_000


def breaker_of(**options: Any) -> CircuitBreaker:
    return CircuitBreaker(CircuitBreakerOptions.model_validate(options))


def test_it_opens_after_failures_in_the_window() -> None:
    """Three failures within 10 s open it; at 0, 6 and 11 s they do not, at 6, 11 and 16 s they do."""
    breaker = breaker_of(failure_threshold=3, window_s=10, open_s=60)
    assert [breaker.on_failure(at * S) for at in (0, 6, 11, 16)] == [False, False, False, True]
    assert breaker.state == BreakerState.OPEN
    assert breaker.open_until_ns == 76 * S


def test_a_success_makes_earlier_failures_void() -> None:
    """Two failures, a success, two failures: closed; counted in the window alone it would be open."""
    for consecutive, state in ((True, BreakerState.CLOSED), (False, BreakerState.OPEN)):
        breaker = breaker_of(failure_threshold=3, consecutive=consecutive)
        for at in range(2):
            breaker.on_failure(at * S)
        breaker.on_success()
        for at in range(2, 4):
            breaker.on_failure(at * S)
        assert breaker.state == state


def test_half_open_closes_after_successes_and_opens_after_one_failure() -> None:
    """Three successes in a row close it; a failure after two opens it for another minute."""
    breaker = breaker_of(failure_threshold=1, open_s=60, success_threshold=3)
    assert breaker.on_failure(0)
    assert not breaker.on_failure(1)  # Of an attempt that was under way.
    breaker.on_success()
    assert breaker.state == BreakerState.OPEN
    breaker.half_open()
    breaker.on_success()
    breaker.on_success()
    assert breaker.on_failure(90 * S)
    assert breaker.open_until_ns == 150 * S
    breaker.half_open()
    for _ in range(3):
        assert breaker.state == BreakerState.HALF_OPEN
        breaker.on_success()
    assert breaker.state == BreakerState.CLOSED


def test_defaults_are_those_of_sglang() -> None:
    """Open after 10 failures in 120 s, for 60 s, closed after 3 successes."""
    options = CircuitBreakerOptions()
    assert (options.failure_threshold, options.window_s, options.open_s, options.success_threshold) == (10, 120, 60, 3)
