"""Instant service: a workload that reacts, as it would be if every request were served the moment it arrives.

For looking at such workloads without a simulation: turns, contexts and lengths are what a run would see, times are the
earliest possible ones.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import BLOCK
from cluster_sim.workload.source import SERVED, FeedbackSource

INSTANT_SERVICE_NOTICE: Final = (
    "later requests depend on how earlier ones fare; shown as if each were served the moment it arrives"
)


class InstantService:
    """A ``ColumnSource`` over a feedback source."""

    def __init__(self, source: FeedbackSource, status_of: Callable[[Request], str] = lambda _: SERVED) -> None:
        """``status_of`` says how a request ends."""
        self._source = source
        self._status_of = status_of

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on, in order of arrival."""
        requests = self.requests()
        while rows := list(islice(requests, BLOCK)):
            yield _columns(rows)

    def requests(self) -> Iterator[Request]:
        """Yield the requests in order of arrival."""
        caused: list[tuple[int, int, Request]] = []

        def serve(request: Request) -> Request:
            for following in self._source.on_end(request, request.arrival_ns, self._status_of(request)):
                heapq.heappush(caused, (following.arrival_ns, following.request_id, following))
            return request

        for chunk in self._source.initial():
            for request in chunk:
                while caused and caused[0][0] <= request.arrival_ns:
                    yield serve(heapq.heappop(caused)[2])
                yield serve(request)
        while caused:
            yield serve(heapq.heappop(caused)[2])


def _columns(rows: Sequence[Request]) -> Columns:
    return Columns(
        np.asarray([request.arrival_ns for request in rows], dtype=np.int64),
        np.asarray([request.prompt_tokens for request in rows], dtype=np.int64),
        np.asarray([request.output_tokens for request in rows], dtype=np.int64),
        [request.attributes for request in rows],
    )
