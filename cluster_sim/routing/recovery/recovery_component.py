"""Recovery as a component of the hub: retries, migration after failures, time-outs of attempts, circuit breakers.

A failed attempt is closed before this is asked.  A request that has begun goes on elsewhere with its tokens so far if
migration is on; one that has not is retried after a delay; the rest fails.  What is tried again is submitted in a
global schedule, like an arrival.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.recording.reasons import ATTEMPT_TIMEOUT, CRASH, NO_REPLICA, TRANSFER_FAILED, UNREACHABLE
from cluster_sim.recording.statuses import FAILED, FINISHED
from cluster_sim.routing.component import Recovery
from cluster_sim.routing.membership import GONE
from cluster_sim.routing.recovery.circuit_breaker import BreakerState, CircuitBreaker, CircuitBreakerOptions
from cluster_sim.routing.recovery.failures import Failure
from cluster_sim.routing.recovery.migration_options import MigrationOptions
from cluster_sim.routing.recovery.retries import RetryPolicy
from cluster_sim.routing.recovery.retry_options import RetryOptions
from cluster_sim.routing.request_states import Attempt, RequestState, TrackedRequest
from cluster_sim.routing.routes import Route

BREAKER = "breaker"
"""The reason for which an open circuit breaker blocks a replica."""


class Resubmission(NamedTuple):
    """A request is tried again."""

    request_id: int


class AttemptTimeout(NamedTuple):
    """The router has waited long enough for an attempt."""

    request_id: int
    attempt: int


class HalfOpening(NamedTuple):
    """An open breaker lets requests pass again, on trial."""

    replica: int


class _History:
    """The attempts of one request so far."""

    __slots__ = ("failed_at", "is_retrying", "migrations", "retries")

    def __init__(self) -> None:
        self.retries = 0
        self.migrations = 0
        self.is_retrying = False
        """Whether it counts in the budget."""
        self.failed_at: set[int] = set()
        """Sources of the replicas where it has failed."""


class RequestRecovery(Recovery):
    """What a study's ``router.retries``, ``router.migration`` and ``router.circuit_breaker`` describe."""

    def __init__(
        self,
        retries: RetryOptions | None,
        migration: MigrationOptions | None,
        breaker: CircuitBreakerOptions | None,
        seed: int,
    ) -> None:
        """Without ``retries`` no attempt is tried again from its beginning."""
        self._retries = retries or RetryOptions(max_retries=0)
        self._has_retries = retries is not None
        self._policy = RetryPolicy(self._retries, seed)
        self._migration = migration
        self._breaker_options = breaker
        self._breakers: dict[int, CircuitBreaker] = {}
        self._histories: dict[int, _History] = {}
        """Of the requests that have failed at least once and not ended."""

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {
            Resubmission: self._on_resubmission,
            AttemptTimeout: self._on_attempt_timeout,
            HalfOpening: self._on_half_opening,
        }

    # ------------------------------------------------------------------------------------------------------- failures

    def on_failure(self, tracked: TrackedRequest, attempt: Attempt | None, failure: str, now_ns: int) -> list[Send]:
        hub, request = self.hub, tracked.request
        history = self._histories.setdefault(request.request_id, _History())
        if attempt is not None:
            self._note_failure(history, attempt, failure, now_ns)
            departure = hub.requests.departure(request.request_id, attempt.number) if failure == CRASH else None
            if departure is not None:
                tracked.resume(departure, attempt.dispatch_ns, now_ns)
        tokens = tracked.resumed_tokens
        if self._migrates(history, tracked, failure):
            history.migrations += 1
            self.migrations += tokens > 0
            return self._try_again(tracked, hub.next_schedule_ns())
        # A request that goes on elsewhere and finds nobody there is tried again like one that has not begun.
        is_connecting = self._migration is not None and failure in {UNREACHABLE, NO_REPLICA}
        seen = Failure(failure, 0 if is_connecting else tokens)
        decision = self._policy.decide(request.request_id, history.retries, seen, len(hub.requests))
        if decision.reason:
            return hub.end_request(tracked, tracked.row(FAILED, now_ns, decision.reason), now_ns)
        history.retries += 1
        if not history.is_retrying:
            history.is_retrying = True
            self._policy.budget.under_way += 1
        if not is_connecting:
            tracked.resumed_tokens = 0
        return self._try_again(tracked, max(now_ns + decision.delay_ns, hub.next_schedule_ns()))

    def _migrates(self, history: _History, tracked: TrackedRequest, failure: str) -> bool:
        """Whether a request goes on where it stopped; one without tokens only if there are no retries for it."""
        options = self._migration
        if self._has_retries and failure in {UNREACHABLE, NO_REPLICA}:
            return False
        if options is None or failure not in options.migrate_on or history.migrations >= options.limit:
            return False
        tokens = tracked.resumed_tokens
        longest = options.max_tokens
        is_short = longest is None or tracked.request.prompt_tokens + tokens <= longest
        return is_short and (tokens > 0 or not self._has_retries)

    def _try_again(self, tracked: TrackedRequest, at_ns: int) -> list[Send]:
        tracked.state = RequestState.QUEUED
        request_id = tracked.request.request_id
        event = Resubmission(request_id)
        self.hub.events.schedule(at_ns, Kind.GLOBAL_SCHEDULE, request_id, event, is_background=True)
        return []

    def _on_resubmission(self, event: Resubmission, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        return [] if tracked is None else self.hub.submit(tracked, now_ns)

    def narrow(
        self, tracked: TrackedRequest, route: Route, eligible: Sequence[int] | None, now_ns: int
    ) -> Sequence[int] | None:
        history = self._histories.get(tracked.request.request_id)
        if history is None or not (history.failed_at and self._retries.avoid_failed):
            return eligible
        positions = range(len(route.targets)) if eligible is None else eligible
        targets, failed_at = route.targets, history.failed_at
        return [position for position in positions if targets[position].source not in failed_at] or eligible

    # ----------------------------------------------------------------------------------------------------- time-outs

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        if self._retries.attempt_timeout_ns:
            request_id = tracked.request.request_id
            event = AttemptTimeout(request_id, attempt.number)
            at_ns = now_ns + self._retries.attempt_timeout_ns
            self.hub.events.schedule(at_ns, Kind.TIMER, request_id, event, is_background=True)

    def _on_attempt_timeout(self, event: AttemptTimeout, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        attempt = None if tracked is None else tracked.open.get(event.attempt)
        if tracked is None or attempt is None:
            return []
        return self.hub.give_up(tracked, attempt, ATTEMPT_TIMEOUT, now_ns)

    # ------------------------------------------------------------------------------------------------------ breakers

    def _note_failure(self, history: _History, attempt: Attempt, failure: str, now_ns: int) -> None:
        history.failed_at.add(attempt.target.source)
        if self._breaker_options is None or failure not in {CRASH, UNREACHABLE, ATTEMPT_TIMEOUT, TRANSFER_FAILED}:
            return
        number = attempt.target.source - 1
        if number not in self._breakers:
            self._breakers[number] = CircuitBreaker(self._breaker_options)
        breaker = self._breakers[number]
        if breaker.on_failure(now_ns):
            self.hub.membership.block(number, BREAKER)
            self.hub.events.schedule(breaker.open_until_ns, Kind.TIMER, number, HalfOpening(number), is_background=True)

    def _on_half_opening(self, event: HalfOpening, now_ns: int) -> list[Send]:
        breaker = self._breakers[event.replica]
        if breaker.state == BreakerState.OPEN and GONE not in self.hub.membership[event.replica].blocked_by:
            breaker.half_open()
            self.hub.membership.unblock(event.replica, BREAKER)
        return []

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        history = self._histories.pop(tracked.request.request_id, None)
        if history is not None and history.is_retrying:
            self._policy.budget.under_way -= 1
        if self._breakers and tracked.end.status == FINISHED:
            breaker = self._breakers.get(tracked.end.replica)
            if breaker is not None:
                breaker.on_success()
        return []
