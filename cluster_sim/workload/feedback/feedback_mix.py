"""Mixture of several sources, of which at least one reacts to how requests fare.

Request ids interleave: request i of part k of K has id i * K + k.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

from cluster_sim.snapshot.names import SnapshotError
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import BLOCK
from cluster_sim.workload.source import FeedbackSource, RequestSource, ResumableSource


class FeedbackMix:
    """A ``FeedbackSource`` made of open-loop and feedback parts."""

    def __init__(self, parts: Sequence[RequestSource | FeedbackSource]) -> None:
        self._parts = parts
        self.think_floor_ns = min(part.think_floor_ns for part in parts if isinstance(part, FeedbackSource))

    def _renumbered(self, part: int, requests: list[Request]) -> list[Request]:
        for request in requests:
            request.request_id = request.request_id * len(self._parts) + part
        return requests

    def _stream(self, part: int) -> Iterator[Request]:
        source = self._parts[part]
        chunks = source.initial() if isinstance(source, FeedbackSource) else source.chunks()
        for chunk in chunks:
            yield from self._renumbered(part, chunk)

    def initial(self) -> Iterator[list[Request]]:
        """Yield the requests of all parts that depend on nothing, in order of arrival."""
        streams = [self._stream(part) for part in range(len(self._parts))]
        some: list[Request] = []
        for request in heapq.merge(*streams, key=lambda request: request.arrival_ns):
            some.append(request)
            if len(some) == BLOCK:
                yield some
                some = []
        if some:
            yield some

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the requests that the request's own part sends because of its end."""
        inner_id, part = divmod(request.request_id, len(self._parts))
        source = self._parts[part]
        if not isinstance(source, FeedbackSource):
            return []
        inner = Request(inner_id, request.arrival_ns, request.prompt_tokens, request.output_tokens, request.attributes)
        return self._renumbered(part, source.on_end(inner, now_ns, status))

    def snapshot(self) -> Any:
        """Return what the ends of requests have changed in every part that reacts to them."""
        return [part.snapshot() for part in self._reacting()]

    def restore(self, state: Any) -> None:
        """Take back what ``snapshot`` returned."""
        for part, own in zip(self._reacting(), state, strict=True):
            part.restore(own)

    def _reacting(self) -> list[ResumableSource]:
        reacting = [part for part in self._parts if isinstance(part, FeedbackSource)]
        for part in reacting:
            if not isinstance(part, ResumableSource):
                raise SnapshotError(f"the source {type(part).__qualname__} has no snapshot and restore")
        return [part for part in reacting if isinstance(part, ResumableSource)]
