"""Event list of the router: arrivals from the workload, its own timers, and what it observes of replicas."""

import heapq
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant
from cluster_sim.engine.process import Message
from cluster_sim.replayed import Replayed
from cluster_sim.workload.request import Request


class ClientTimeout(NamedTuple):
    """A client has waited long enough for a request."""

    request_id: int


_AHEAD: Final = 1 << 62
"""How much lower the order of events is that come before others of their instant and sequence."""


class OwnEvent(NamedTuple):
    """An event that the router has scheduled itself; those of equal instants go by sequence, then in order of
    scheduling, which is the same on every placement: the router handles its events one after the other.
    """

    instant: Instant
    sequence: int
    """Id of the request that it concerns, or number of the replica."""
    order: int
    event: Any
    is_background: bool
    """Whether the run may end without it."""
    needed: Instant
    """What every process must have passed before it is handled."""


_GLOBAL_SCHEDULE: Final = Kind.GLOBAL_SCHEDULE


class EventList:
    """Events in the order of their instants, at equal ones of their kinds, sources and sequences.

    A ``Request`` is the event of its arrival.  ``chunks()`` yields the requests that come whatever happens, in the
    order of their arrivals; they never enter a heap.
    """

    def __init__(self, chunks: Callable[[], Iterator[list[Request]]]) -> None:
        self._chunks = Replayed(chunks)
        self._chunk: list[Request] = []
        self._cursor = 0
        self._arrival: Instant = NEVER
        """Of the next request of ``chunks``."""
        self._own: list[OwnEvent] = []
        """Events that the router has scheduled itself."""
        self._scheduled = 0
        self._foreground = 0
        """Own events without those in the background."""
        self._observed: list[Message] = []
        """Messages of replicas."""
        self._next_chunk()

    def next_event(self) -> Instant:
        """Return the instant of the earliest event."""
        earliest = self._arrival
        if self._own and self._own[0].instant < earliest:
            earliest = self._own[0].instant
        if self._observed and self._observed[0].instant < earliest:
            earliest = self._observed[0].instant
        return earliest

    def next_own(self) -> Instant:
        """Return the instant of the earliest event that no replica has caused."""
        if self._own and self._own[0].instant < self._arrival:
            return self._own[0].instant
        return self._arrival

    @property
    def has_arrivals(self) -> bool:
        """Whether ``chunks`` has requests left."""
        return self._arrival < NEVER

    @property
    def is_waiting(self) -> bool:
        """Whether anything is left but timers in the background and messages of replicas."""
        return self._foreground > 0 or self._arrival < NEVER

    def needed(self) -> Instant:
        """Return what every process must have passed before the earliest event is handled."""
        own = self._own
        return own[0].needed if own and own[0].instant == self.next_event() else 0

    def drop_background(self) -> None:
        """Forget every event in the background: the run is over."""
        self._own = [event for event in self._own if not event.is_background]
        heapq.heapify(self._own)

    def pop(self) -> tuple[Instant, Any]:
        """Return the earliest event with its instant, and forget it."""
        if not (self._own or self._observed):
            return self._pop_arrival()
        earliest = self.next_event()
        own = self._own
        is_own = bool(own) and own[0].instant == earliest
        if self._observed and self._observed[0].instant == earliest and not is_own:
            return earliest, heapq.heappop(self._observed).payload
        if is_own:
            is_tied = self._arrival == earliest
            if not is_tied or own[0].sequence < self._chunk[self._cursor].request_id:
                event = heapq.heappop(own)
                self._foreground -= not event.is_background
                return earliest, event.event
        return self._pop_arrival()

    def _pop_arrival(self) -> tuple[Instant, Request]:
        """Return the next request of ``chunks``."""
        arrival, chunk, cursor = self._arrival, self._chunk, self._cursor
        request = chunk[cursor]
        cursor += 1
        if cursor < len(chunk):
            self._cursor = cursor
            self._arrival = chunk[cursor].arrival_ns << KIND_BITS | _GLOBAL_SCHEDULE
        else:
            self._next_chunk()
        return arrival, request

    def schedule(
        self,
        time_ns: int,
        kind: int,
        sequence: int,
        event: Any,
        *,
        is_background: bool = False,
        needed: Instant = 0,
        comes_first: bool = False,
    ) -> None:
        """Add an event of the router's own; events of equal instants go by ``sequence``, then by order of scheduling,
        those that ``comes_first`` says before others.

        The run ends without those in the background (periodic timers).  Every process will have passed ``needed``.
        """
        self._scheduled += 1
        self._foreground += not is_background
        order = self._scheduled - _AHEAD if comes_first else self._scheduled
        own = OwnEvent(instant(time_ns, kind), sequence, order, event, is_background, needed)
        heapq.heappush(self._own, own)

    def forget(self, kind: type) -> list[Any]:
        """Return and forget the router's own events of a type, all of which are in the background."""
        forgotten = sorted(event for event in self._own if type(event.event) is kind)
        if forgotten:
            self._own = [event for event in self._own if type(event.event) is not kind]
            heapq.heapify(self._own)
        return [event.event for event in forgotten]

    def observe(self, message: Message) -> None:
        """Add a message of a replica."""
        heapq.heappush(self._observed, message)

    def _next_chunk(self) -> None:
        self._cursor = 0
        self._chunk = next(self._chunks, [])
        self._arrival = instant(self._chunk[0].arrival_ns, Kind.GLOBAL_SCHEDULE) if self._chunk else NEVER
