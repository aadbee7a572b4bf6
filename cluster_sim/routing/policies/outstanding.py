"""Least outstanding requests: the router's own count of what it sent and has not had back."""

from cluster_sim.engine.observation import Observation
from cluster_sim.routing.indexed_heap import IndexedMinHeap
from cluster_sim.routing.options import Router
from cluster_sim.routing.policies.base import POLICIES, Candidates, Policy
from cluster_sim.workload.request import Request


@POLICIES.register("least_outstanding")
class LeastOutstanding(Policy):
    """The candidate with the fewest requests in flight, the first among equals."""

    observation = Observation(responses=True)

    def __init__(self, router: Router, candidates: Candidates) -> None:
        self._counts = IndexedMinHeap([0] * candidates.count)

    def choose(self, request: Request, now_ns: int) -> int:
        chosen = self._counts.least()
        self._counts.set(chosen, self._counts.values[chosen] + 1)
        return chosen

    def on_end(self, position: int) -> None:
        self._counts.set(position, self._counts.values[position] - 1)
