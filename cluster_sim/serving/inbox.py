"""Inbox of a replica: messages that have not fallen due, among them requests that the API server still works on."""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.serving.lives.timeline import Crash
from cluster_sim.serving.messages import Dispatch


class ApiServer(NamedTuple):
    """The time that an API server spends on a request before the scheduler sees it."""

    fixed_ns: int
    ns_per_token: float

    def delay_ns(self, prompt_tokens: int) -> int:
        """Return the time that a request with ``prompt_tokens`` takes."""
        return self.fixed_ns + int(self.ns_per_token * prompt_tokens)


class Inbox:
    """Messages in the order of their instants; a request's own is when the API server hands it to the scheduler."""

    __slots__ = ("_api_server", "_has_api_server", "heap", "own")

    def __init__(self, api_server: ApiServer) -> None:
        self.heap: list[Message] = []
        self.own = 0
        """How many of them are the replica's own: the crash to come."""
        self._api_server = api_server
        self._has_api_server = bool(api_server.fixed_ns or api_server.ns_per_token)

    def push(self, message: Message) -> None:
        """Take in a message stamped with its delivery."""
        if self._has_api_server and isinstance(message.payload, Dispatch):
            delay_ns = self._api_server.delay_ns(message.payload.prompt_tokens)
            message = message._replace(instant=message.instant + instant(delay_ns, 0))
        heapq.heappush(self.heap, message)

    def expect(self, crash: Crash | None, source: int) -> None:
        """Have a crash of the replica fall due, the only one; None for none."""
        if self.own and any(message.source == source for message in self.heap):
            self.heap[:] = [message for message in self.heap if message.source != source]
            heapq.heapify(self.heap)
        self.own = 0
        if crash is not None:
            self.own = 1
            at = instant(crash.crash_ns, Kind.FAULT)
            heapq.heappush(self.heap, Message(at, source, crash.crash_ns, crash))

    def next_sent(self) -> Instant:
        """Return the instant of the earliest message that was sent to the replica, NEVER if there is none."""
        heap = self.heap
        if not self.own:
            return heap[0].instant if heap else NEVER
        return min((message.instant for message in heap if message.source == HUB_SOURCE), default=NEVER)

    def pop(self) -> Message:
        """Return and forget the earliest message."""
        return heapq.heappop(self.heap)

    def dispatches(self) -> Iterator[tuple[Instant, Dispatch]]:
        """Yield the requests that have not reached the scheduler, and when they will."""
        for message in self.heap:
            if isinstance(message.payload, Dispatch):
                yield message.instant, message.payload

    def delivered_ns(self, dispatch: Dispatch, scheduler_ns: int) -> int:
        """Return when a request was delivered that reaches the scheduler at ``scheduler_ns``."""
        if not self._has_api_server:
            return scheduler_ns
        return scheduler_ns - self._api_server.delay_ns(dispatch.prompt_tokens)

    def drop_delivered(self, time_ns: int) -> list[tuple[int, Dispatch]]:
        """Take out the requests delivered before ``time_ns`` that have not reached the scheduler; return them, and when
        each was delivered.
        """
        dropped: list[tuple[int, Dispatch]] = []
        kept: list[Message] = []
        for message in sorted(self.heap):
            payload = message.payload
            if isinstance(payload, Dispatch):
                delivered_ns = self.delivered_ns(payload, time_of(message.instant))
                if delivered_ns < time_ns:
                    dropped.append((delivered_ns, payload))
                    continue
            kept.append(message)
        self.heap[:] = kept
        return dropped

    def clear(self) -> None:
        """Forget every message."""
        self.heap.clear()
        self.own = 0

    def has_undelivered(self, request_id: int, attempt: int) -> bool:
        """Whether the API server works on an attempt."""
        return any(
            (dispatch.request.request_id, dispatch.attempt) == (request_id, attempt)
            for _, dispatch in self.dispatches()
        )

    def withdraw(self, request_id: int, attempt: int) -> tuple[int, Dispatch] | None:
        """Take back an attempt that the API server works on; return it, and when it was delivered."""
        if not self._has_api_server:
            return None
        for index, message in enumerate(self.heap):
            payload = message.payload
            if isinstance(payload, Dispatch) and (payload.request.request_id, payload.attempt) == (request_id, attempt):
                del self.heap[index]
                heapq.heapify(self.heap)
                return self.delivered_ns(payload, time_of(message.instant)), payload
        return None
