"""States of requests at the router, and the attempts to serve them.

A request is tried once or several times, and several attempts may be open at once, each at a replica of its own.  So
everything that comes back names the attempt that it belongs to; if that is closed, it changes nothing.
"""

from functools import partial
from typing import Final, NamedTuple

from cluster_sim.recording.reasons import NO_REASON, RUN_END
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow, gaps_since
from cluster_sim.recording.statuses import CANCELLED, FAILED, UNFINISHED
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.routing.routes import Route, Target
from cluster_sim.serving.messages import Departure
from cluster_sim.workload.request import Request


class RequestState:
    """The states of a request, as the router knows it."""

    ARRIVED: Final = 0
    """Its arrival is handled; nothing is decided."""
    QUEUED: Final = 1
    """It waits at the router, for its first attempt or for another."""
    DISPATCHED: Final = 2
    """An attempt is under way to a replica, or there; the router has not heard of it since."""
    RUNNING: Final = 3
    """The router knows that a replica computes it."""
    HANDED_OVER: Final = 4
    """Its prompt is computed, and another replica goes on."""
    ENDED: Final = 5
    """Its row is written, with one of ``recording.statuses``."""


_ARRIVED: Final = RequestState.ARRIVED
_DISPATCHED: Final = RequestState.DISPATCHED
_ENDED: Final = RequestState.ENDED


class Attempt(NamedTuple):
    """One dispatch of a request to one replica."""

    number: int
    """0 for the first of a request."""
    route: Route
    position: int
    """Of the replica, among the targets of the route."""
    target: Target
    """The replica."""
    dispatch_ns: int
    policy: RoutingPolicy
    """The one that has chosen the replica, and is told of the attempt's end."""
    leg: str = ""
    """Part of the request that it serves: empty for all of it, or a leg of a hand-over."""


_new_attempt: Final = partial(tuple.__new__, Attempt)
"""Half the price of calling the type."""


class Began(NamedTuple):
    """The times of the attempt that a client has the first token of."""

    dispatch_ns: int
    scheduled_ns: int
    first_token_ns: int


class TrackedRequest:
    """A request from its arrival to its row."""

    __slots__ = (
        "began",
        "end",
        "extra_legs",
        "first_dispatch_ns",
        "interrupted_ns",
        "last",
        "open",
        "request",
        "resumed_tokens",
        "state",
        "stopped_ns",
    )

    began: Began
    """The attempt that has brought the first of the tokens that later ones go on from, if there are any."""

    first_dispatch_ns: int
    """When the first attempt was sent, if there was any."""

    interrupted_ns: int
    """What ``RequestRow.interrupted_ns`` was when the latest attempt began that goes on from earlier tokens."""

    stopped_ns: int
    """When the router knew that the attempt before that had ended."""

    end: RequestRow
    """The row of a request that has ended, where the hub has components."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state: int = _ARRIVED
        self.last: Attempt | None = None
        """The latest attempt, whether or not it is open."""
        self.open: dict[int, Attempt] = {}
        """The attempts that the router waits for, by their numbers."""
        self.resumed_tokens = 0
        """Tokens of the answer that earlier attempts have brought, which the next one goes on from."""
        self.extra_legs = 0
        """Attempts that were second legs of hand-overs, so no retries."""

    def dispatch(self, route: Route, position: int, policy: RoutingPolicy, now_ns: int, leg: str = "") -> Attempt:
        """Open an attempt at a target of a route."""
        assert self.state != _ENDED
        self.state = _DISPATCHED
        if self.last is None:
            number, self.first_dispatch_ns = 0, now_ns
        else:
            number = self.last.number + 1
        attempt = self.last = self.open[number] = _new_attempt(
            (number, route, position, route.targets[position], now_ns, policy, leg)
        )
        return attempt

    def row(self, status: str, finish_ns: int = -1, reason: str = NO_REASON) -> RequestRow:
        """Return the row of a request that ends without a response; its last attempt says where it was."""
        last = self.last
        if last is None:
            return RequestRow(self.request, status, finish_ns=finish_ns, reason=reason)
        row = RequestRow(
            self.request,
            status,
            last.target.source - 1,
            last.target.pool,
            last.dispatch_ns,
            finish_ns=finish_ns,
            retries=last.number - self.extra_legs,
            reason=reason,
            attempts=last.number + 1,
            first_dispatch_ns=self.first_dispatch_ns if last.number > self.extra_legs else -1,
        )
        return self.resumed(row)._replace(generated_tokens=self.resumed_tokens) if self.resumed_tokens else row

    def resume(self, departure: Departure, dispatch_ns: int, now_ns: int) -> None:
        """Let the next attempt go on from where one stopped that was dispatched at ``dispatch_ns``."""
        # A stream that breaks off before its end lacks the last token at least.
        tokens = min(departure.generated_tokens, self.request.output_tokens - 1)
        if not self.resumed_tokens and tokens:
            self.began = Began(dispatch_ns, departure.scheduled_ns, departure.first_token_ns)
            self.interrupted_ns, self.stopped_ns = 0, now_ns
        elif departure.first_token_ns >= 0:
            self.interrupted_ns += max(0, departure.first_token_ns - self.stopped_ns)
            self.stopped_ns = now_ns
        self.resumed_tokens = tokens

    def resumed(self, row: RequestRow) -> RequestRow:
        """Return a row of a later attempt with the times at which the client saw the request begin."""
        began = self.began
        waited_ns = max(0, row.first_token_ns - self.stopped_ns) if row.first_token_ns >= 0 else 0
        return row._replace(
            dispatch_ns=began.dispatch_ns,
            scheduled_ns=began.scheduled_ns,
            first_token_ns=began.first_token_ns,
            restarted_ns=-1,
            preemption_gaps_ns=gaps_since(row.preemption_gaps_ns, row.restarted_ns),
            interrupted_ns=self.interrupted_ns + waited_ns,
        )


_WITH_ATTEMPT: Final = frozenset({RequestState.DISPATCHED, RequestState.RUNNING})
_DEPARTING: Final = frozenset({CANCELLED, FAILED})
"""Statuses of requests of which a replica may still tell how far they had come; how soon it does may change no row."""


class RequestTable(dict[int, TrackedRequest]):
    """Every request that has arrived and not ended, by its id."""

    def __init__(self, log: RequestLog) -> None:
        super().__init__()
        self._log = log
        self.arrived = 0
        """Requests so far, those that have ended included."""
        self.end_ns = 0
        """The latest time at which a request has ended."""
        self._held: dict[int, RequestRow] = {}
        """Rows of requests that have ended and whose replicas have not told how far they had come."""
        self._departures: dict[tuple[int, int], Departure] = {}
        """How far other attempts had come that ended without a response, by request id and attempt."""
        self.encodings: dict[int, tuple[int, int]] = {}
        """When the media of a request were given to an encoder, and when their embeddings are there."""
        self._ignored: set[tuple[int, int]] = set()
        """Attempts of which nobody waits for the departure, so that nothing may depend on it."""

    def arrive(self, request: Request) -> TrackedRequest:
        """Begin to track a request."""
        self.arrived += 1
        tracked = self[request.request_id] = TrackedRequest(request)
        return tracked

    def end(self, tracked: TrackedRequest, row: RequestRow, now_ns: int) -> None:
        """Write the row of a request that ends at ``now_ns``, and forget the request."""
        tracked.state = _ENDED
        del self[tracked.request.request_id]
        if now_ns > self.end_ns:  # noqa: PLR1730 - a call costs five times as much
            self.end_ns = now_ns
        if self.encodings and (encoding := self.encodings.pop(row.request.request_id, None)) is not None:
            row = row._replace(encode_start_ns=encoding[0], encoded_ns=encoding[1])
        departure = self._departure_of(tracked) if self._departures else None
        is_ignored = bool(self._ignored) and self._forget_ignored(tracked)
        if departure is not None:
            self._log.add(_completed(row, departure, row.finish_ns))
        elif row.status in _DEPARTING and row.dispatch_ns >= 0 and not is_ignored:
            self._held[row.request.request_id] = row
        else:
            self._log.add(row)

    def depart(self, departure: Departure) -> None:
        """Write the row of a cancelled request, or keep how far an attempt had come, for whoever asks."""
        row = self._held.get(departure.request_id)
        if row is not None and row.attempts == departure.attempt + 1:
            del self._held[departure.request_id]
            self._log.add(_completed(row, departure, row.finish_ns))
        elif departure.request_id in self and (departure.request_id, departure.attempt) not in self._ignored:
            self._departures[departure.request_id, departure.attempt] = departure

    def ignore_departure(self, tracked: TrackedRequest, attempt: int) -> None:
        """Let nothing depend on how far an attempt had come, known already or not."""
        key = tracked.request.request_id, attempt
        self._departures.pop(key, None)
        self._ignored.add(key)

    def departure(self, request_id: int, attempt: int) -> Departure | None:
        """Return how far an attempt had come that its replica has dropped, if that is known."""
        return self._departures.get((request_id, attempt))

    def _departure_of(self, tracked: TrackedRequest) -> Departure | None:
        """Forget the departures of a request; return that of its last attempt."""
        if tracked.last is None:
            return None
        request_id, departure = tracked.request.request_id, None
        for number in range(tracked.last.number + 1):
            departure = self._departures.pop((request_id, number), None)
        return departure

    def _forget_ignored(self, tracked: TrackedRequest) -> bool:
        """Forget which departures of a request are ignored; return whether that of its last attempt is."""
        if tracked.last is None:
            return False
        keys = [(tracked.request.request_id, number) for number in range(tracked.last.number + 1)]
        is_ignored = keys[-1] in self._ignored
        self._ignored.difference_update(keys)
        return is_ignored

    def validate(self) -> None:
        """Assert in full that every request that has arrived is open, held for its replica or written, and one only."""
        known = len(self) + len(self._held) + self._log.rows
        assert self.arrived == known, f"{self.arrived} requests have arrived, and {known} are known"
        for request_id, tracked in self.items():
            assert request_id == tracked.request.request_id, f"request {tracked.request.request_id} is at {request_id}"
            assert tracked.state != _ENDED, f"request {request_id} has ended and is open"
            assert request_id not in self._held, f"request {request_id} is open and has a row"
            numbers = range(0 if tracked.last is None else tracked.last.number + 1)
            assert all(attempt.number == number in numbers for number, attempt in tracked.open.items())
            assert tracked.open or tracked.state not in _WITH_ATTEMPT, f"request {request_id} is nowhere"

    def close(self, end_ns: int) -> None:
        """Write the rows of requests that the run's end at ``end_ns`` left unfinished, and those held."""
        for request_id in sorted(self):
            tracked = self[request_id]
            row = tracked.row(UNFINISHED, reason=RUN_END)
            departure = self._departure_of(tracked)
            self.end(tracked, row if departure is None else _completed(row, departure, end_ns - 1), 0)
        for row in self._held.values():
            self._log.add(row)
        self._held.clear()


def _completed(row: RequestRow, departure: Departure, last_ns: int) -> RequestRow:
    """Return a row with what happened up to ``last_ns`` at the router."""
    if departure.rank >= 0:
        row = row._replace(rank=departure.rank)
    if not 0 <= departure.scheduled_ns <= last_ns:
        return row
    first_token_ns = departure.first_token_ns
    if row.first_token_ns >= 0:  # An earlier attempt has begun it.
        return row._replace(generated_tokens=departure.generated_tokens)
    return row._replace(
        scheduled_ns=departure.scheduled_ns,
        first_token_ns=first_token_ns if first_token_ns <= last_ns else -1,
        cached_tokens=departure.cached_tokens,
        preemptions=departure.preemptions,
        generated_tokens=departure.generated_tokens,
    )
