"""Retries: the decision after a failed attempt, and the delay before the next."""

from typing import NamedTuple

from cluster_sim.engine.draws import draw_below, stream_key
from cluster_sim.recording.reasons import RETRIES_EXHAUSTED
from cluster_sim.routing.recovery.failures import Failure
from cluster_sim.routing.recovery.retry_options import RetryBudgetOptions, RetryOptions

_MOST_ATTEMPTS = 1 << 12
"""Draws of one request; more attempts than ``max_retries`` allows."""
_FINE = 1 << 40
"""Steps of a jitter draw."""


class RetryDecision(NamedTuple):
    """Retry after a delay, or fail for a reason."""

    delay_ns: int
    reason: str = ""
    """Why the request fails; empty if it is retried."""


class RetryBudget:
    """Counts the retries under way, from the failure that they follow to the end of their attempt."""

    def __init__(self, options: RetryBudgetOptions | None) -> None:
        self._options = options
        self.under_way = 0

    def allows_one_more(self, in_flight: int) -> bool:
        """Whether one more retry may be under way among ``in_flight`` requests."""
        options = self._options
        return options is None or self.under_way < max(options.ratio * in_flight, options.min_concurrent)


class RetryPolicy:
    """Decides about each failed attempt; delays are keyed by request and retry, never by the order of failing."""

    def __init__(self, options: RetryOptions, seed: int) -> None:
        self._options = options
        self._key = stream_key(seed, "router", "retries")
        self.budget = RetryBudget(options.budget)

    def decide(self, request_id: int, retries: int, failure: Failure, in_flight: int) -> RetryDecision:
        """Return what follows a failure of a request that has been retried ``retries`` times.

        ``in_flight`` is the number of requests that have arrived and not ended.
        """
        options = self._options
        reason = failure.reason
        if reason not in options.retry_on or (failure.streamed_tokens and not options.begun_streams):
            return RetryDecision(0, reason)
        if retries >= options.max_retries:
            return RetryDecision(0, RETRIES_EXHAUSTED if options.max_retries else reason)
        if not self.budget.allows_one_more(in_flight):
            return RetryDecision(0, RETRIES_EXHAUSTED)
        return RetryDecision(self.delay_ns(request_id, retries))

    def delay_ns(self, request_id: int, retries: int) -> int:
        """Return the delay before the retry that follows ``retries`` others."""
        back_off = self._options.back_off
        delay_ns = round(min(back_off.initial_ns * back_off.multiplier**retries, back_off.max_ns))
        spread_ns = round(delay_ns * back_off.jitter_ratio)
        if not spread_ns:
            return delay_ns
        counter = request_id * _MOST_ATTEMPTS + retries
        return delay_ns - spread_ns + draw_below(self._key, counter, _FINE) * (2 * spread_ns + 1) // _FINE
