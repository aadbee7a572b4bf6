"""Policies on telemetry: what the last visible sample showed, plus what the router itself has sent since.

A sample at S holds every delivery before S.  Own dispatches delivered at or after the newest visible sample are added,
so that one stale sample does not draw a whole period's requests to one replica.
"""

from abc import abstractmethod
from collections import deque

from cluster_sim.engine.observation import Observation
from cluster_sim.routing.indexed_heap import IndexedMinHeap
from cluster_sim.routing.options import Router
from cluster_sim.routing.policies.base import POLICIES, Candidates, Policy
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request


class _LeastSampled(Policy):
    """The candidate with the least sampled load, the first among equals."""

    def __init__(self, router: Router, candidates: Candidates) -> None:
        telemetry = router.telemetry
        self.observation = Observation(telemetry=True, period_ns=telemetry.period_ns, latency_ns=telemetry.latency_ns)
        self._forward_ns = candidates.forward_ns
        self._sampled = [0] * candidates.count
        self._sent = [0] * candidates.count
        self._loads = IndexedMinHeap([0] * candidates.count)
        self._since: deque[tuple[int, int]] = deque()
        """(delivery time, position) of own dispatches that no visible sample holds, in order of dispatch."""

    @abstractmethod
    def load_of(self, sample: Sample) -> int:
        """Return the load that a sample shows."""

    def choose(self, request: Request, now_ns: int) -> int:
        newest_ns = self.observation.newest_sample_ns(now_ns)
        since = self._since
        while since and since[0][0] < newest_ns:
            position = since.popleft()[1]
            self._sent[position] -= 1
            self._refresh(position)
        chosen = self._loads.least()
        since.append((now_ns + self._forward_ns[chosen], chosen))
        self._sent[chosen] += 1
        self._refresh(chosen)
        return chosen

    def on_sample(self, position: int, sample: Sample) -> None:
        self._sampled[position] = self.load_of(sample)
        self._refresh(position)

    def _refresh(self, position: int) -> None:
        self._loads.set(position, self._sampled[position] + self._sent[position])


@POLICIES.register("least_loaded")
class LeastLoaded(_LeastSampled):
    """Fewest running and waiting requests."""

    def load_of(self, sample: Sample) -> int:
        return sample.running + sample.waiting


@POLICIES.register("least_waiting")
class LeastWaiting(_LeastSampled):
    """Shortest waiting queue, running requests not counted: Vidur's ``lor`` when telemetry has period and latency 0."""

    def load_of(self, sample: Sample) -> int:
        return sample.waiting
