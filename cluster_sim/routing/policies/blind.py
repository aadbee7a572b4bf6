"""Policies that observe nothing, so that replicas never hold the router back."""

from cluster_sim.engine.draws import draw_below, stream_key
from cluster_sim.routing.options import Router
from cluster_sim.routing.policies.base import POLICIES, Candidates, Policy
from cluster_sim.workload.request import Request


@POLICIES.register("round_robin")
class RoundRobin(Policy):
    """Each candidate in turn."""

    def __init__(self, router: Router, candidates: Candidates) -> None:
        self._count = candidates.count
        self._next = 0

    def choose(self, request: Request, now_ns: int) -> int:
        chosen = self._next
        self._next = (chosen + 1) % self._count
        return chosen


@POLICIES.register("random")
class Random(Policy):
    """A uniform draw keyed by the request's id, so that it does not depend on who was routed before."""

    def __init__(self, router: Router, candidates: Candidates) -> None:
        self._count = candidates.count
        self._key = stream_key(candidates.seed, "router", "random")

    def choose(self, request: Request, now_ns: int) -> int:
        return draw_below(self._key, request.request_id, self._count)
