"""Event list of the router: arrivals from the workload, its own timers, and what it observes of replicas."""

import heapq
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.workload.request import Request


class ClientTimeout(NamedTuple):
    """A client has waited long enough for a request."""

    request_id: int


_GLOBAL_SCHEDULE: Final = Kind.GLOBAL_SCHEDULE


class EventList:
    """Events in the order of their instants, at equal ones of their kinds, sources and sequences.

    A ``Request`` is the event of its arrival.  ``chunks`` yields the requests that come whatever happens, in the order
    of their arrivals; they never enter a heap.
    """

    def __init__(self, chunks: Iterator[list[Request]]) -> None:
        self._chunks = chunks
        self._chunk: list[Request] = []
        self._cursor = 0
        self._arrival: Instant = NEVER
        """Of the next request of ``chunks``."""
        self._own: list[Message] = []
        """Events that the router has scheduled itself."""
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

    def pop(self) -> tuple[Instant, Any]:
        """Return the earliest event with its instant, and forget it."""
        if not (self._own or self._observed):
            return self._pop_arrival()
        earliest = self.next_event()
        # Messages of replicas and own events are of different kinds, so they never tie.
        if self._observed and self._observed[0].instant == earliest:
            return earliest, heapq.heappop(self._observed).payload
        own = self._own
        if own and own[0].instant == earliest:
            is_tied = self._arrival == earliest
            if not is_tied or own[0].sequence < self._chunk[self._cursor].request_id:
                return earliest, heapq.heappop(own).payload
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

    def schedule(self, time_ns: int, kind: int, sequence: int, event: Any) -> None:
        """Add an event of the router's own; ``sequence`` is the id of the request that it concerns."""
        heapq.heappush(self._own, Message(instant(time_ns, kind), HUB_SOURCE, sequence, event))

    def observe(self, message: Message) -> None:
        """Add a message of a replica."""
        heapq.heappush(self._observed, message)

    def _next_chunk(self) -> None:
        self._cursor = 0
        self._chunk = next(self._chunks, [])
        self._arrival = instant(self._chunk[0].arrival_ns, Kind.GLOBAL_SCHEDULE) if self._chunk else NEVER
