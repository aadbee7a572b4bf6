"""Limit on the requests that a client has in flight.

Design: the first N requests leave on time; after that every end frees one place, and the next request in order takes
it, at its own time or when the place is free, whichever is later.  This is exactly a first-come-first-served
semaphore, without a timer.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from cluster_sim.replayed import Replayed
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.request import Request
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.sampling.random_streams import BLOCK


class LimitedClient:
    """A ``FeedbackSource`` over an open-loop source; ``arrival_ns`` is when a request is really sent."""

    def __init__(self, source: ColumnSource, max_concurrency: int, reaction_ns: int) -> None:
        self._stream = RequestStream(source)
        self._limit = max_concurrency
        self.think_floor_ns = max(reaction_ns, 1)
        self._chunks = Replayed(self._stream.chunks)
        self._waiting: deque[Request] = deque()

    def _next(self) -> Request | None:
        if not self._waiting:
            self._waiting.extend(next(self._chunks, []))
        return self._waiting.popleft() if self._waiting else None

    def initial(self) -> Iterator[list[Request]]:
        """Yield the first ``max_concurrency`` requests."""
        self._chunks = Replayed(self._stream.chunks)
        self._waiting.clear()
        left = self._limit
        while left > 0:
            some: list[Request] = []
            while len(some) < min(left, BLOCK) and (request := self._next()) is not None:
                some.append(request)
            if not some:
                return
            left -= len(some)
            yield some

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the next request in order, sent as soon as the client may and at its own time at the earliest."""
        following = self._next()
        if following is None:
            return []
        following.arrival_ns = max(following.arrival_ns, now_ns + self.think_floor_ns)
        return [following]

    def snapshot(self) -> Any:
        """Return how far the source was read, and the requests read and not sent."""
        return self._chunks.count, self._waiting

    def restore(self, state: Any) -> None:
        """Take back what ``snapshot`` returned."""
        count, self._waiting = state
        while self._chunks.count < count:
            next(self._chunks)
