"""Queues of requests at the router: by priority, within a priority by flow, within a flow by the ordering.

Between priorities the more urgent goes first, always; between flows of one priority the fairness policy chooses, and
within a flow the ordering (llm-d-inference-scheduler 520af478, flow control).  vLLM's convention holds here as
everywhere: a lower priority is more urgent; llm-d's is the negative of it.
"""

import heapq
from collections.abc import Callable

from cluster_sim.engine.instant import NEVER
from cluster_sim.routing.flow_control.fairness_interface import Fairness, Head
from cluster_sim.routing.flow_control.ordering_interface import FlowOrdering
from cluster_sim.routing.flow_control.queue_limits import QueueOptions, QueueSize
from cluster_sim.workload.request import Request


class QueuedRequest:
    """A request that waits at the router."""

    __slots__ = ("expires_ns", "flow", "key", "number", "queued_ns", "request", "size")

    def __init__(
        self, request: Request, flow: str, key: int, number: int, queued_ns: int, expires_ns: int, size: QueueSize
    ) -> None:
        self.request = request
        self.flow = flow
        self.key = key
        """By the ordering."""
        self.number = number
        """Counts what is queued, so that equal keys go in that order."""
        self.queued_ns = queued_ns
        self.expires_ns = expires_ns
        """When it is turned away; NEVER: not at all."""
        self.size = size


class _Flow:
    """The requests of one flow, in order; what is taken out of the middle is dropped when it surfaces."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, QueuedRequest]] = []
        self.waiting = 0

    def head(self, present: dict[int, QueuedRequest]) -> Head:
        """Return the head, which is there."""
        heap = self.heap
        while present.get(heap[0][2].request.request_id) is not heap[0][2]:
            heapq.heappop(heap)
        return heap[0][:2]


class _Band:
    """The flows of one priority."""

    def __init__(self, fairness: Fairness) -> None:
        self.fairness = fairness
        self.flows: dict[str, _Flow] = {}
        """Those that have requests waiting."""
        self.size = QueueSize()


class FlowQueues:
    """All requests of one model that wait at the router."""

    def __init__(self, options: QueueOptions, ordering: FlowOrdering, fairness: Callable[[], Fairness]) -> None:
        """``fairness`` builds the policy of one priority."""
        self._options = options
        self._ordering = ordering
        self._build_fairness = fairness
        self._bands: dict[int, _Band] = {}
        self._present: dict[int, QueuedRequest] = {}
        """Everything that waits, by request id."""
        self._size = QueueSize()
        self._numbers = 0

    def __len__(self) -> int:
        return self._size.requests

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._present

    @property
    def size(self) -> QueueSize:
        """What waits altogether."""
        return self._size

    def ahead_of(self, request: Request) -> int:
        """Return how many requests wait that are as urgent as a request, or more so."""
        priority = request.attributes.priority
        return sum(band.size.requests for level, band in self._bands.items() if level <= priority)

    def has_room(self, request: Request) -> bool:
        """Whether a request fits within the limits of all priorities and of its own."""
        size = self._options.size_of(request)
        priority = request.attributes.priority
        band = self._bands.get(priority)
        capacity = self._options.capacity_of(priority)
        band_size = QueueSize() if band is None else band.size
        return self._size.fits(size, self._options) and band_size.fits(size, capacity)

    def add(self, request: Request, flow: str, now_ns: int) -> QueuedRequest:
        """Queue a request, which fits, and return its place."""
        time_to_live_ns = self._options.time_to_live_ns
        expires_ns = NEVER if time_to_live_ns is None else now_ns + time_to_live_ns
        key = self._ordering.key(request, now_ns, expires_ns)
        self._numbers += 1
        size = self._options.size_of(request)
        queued = QueuedRequest(request, flow, key, self._numbers, now_ns, expires_ns, size)
        priority = request.attributes.priority
        band = self._bands.get(priority)
        if band is None:
            band = self._bands[priority] = _Band(self._build_fairness())
        line = band.flows.get(flow)
        if line is None:
            line = band.flows[flow] = _Flow()
        heapq.heappush(line.heap, (key, self._numbers, queued))
        line.waiting += 1
        assert request.request_id not in self._present, "a request waits once"
        self._present[request.request_id] = queued
        band.size.add(size)
        self._size.add(size)
        return queued

    def pop(self) -> QueuedRequest | None:
        """Take out the request that goes next; None if nothing waits."""
        if not self._present:
            return None
        priority = min(level for level, band in self._bands.items() if band.flows)
        band = self._bands[priority]
        flow = band.fairness.choose({name: line.head(self._present) for name, line in band.flows.items()})
        queued = band.flows[flow].heap[0][2]
        self._forget(queued)
        return queued

    def number_of(self, request_id: int) -> int | None:
        """Return the number of the place of a request; None if it does not wait."""
        queued = self._present.get(request_id)
        return None if queued is None else queued.number

    def remove(self, request_id: int) -> QueuedRequest | None:
        """Take out one request, if it waits."""
        queued = self._present.get(request_id)
        if queued is not None:
            self._forget(queued)
        return queued

    def _forget(self, queued: QueuedRequest) -> None:
        del self._present[queued.request.request_id]
        band = self._bands[queued.request.attributes.priority]
        line = band.flows[queued.flow]
        line.waiting -= 1
        if not line.waiting:
            del band.flows[queued.flow]
        band.size.add(queued.size, -1)
        self._size.add(queued.size, -1)
