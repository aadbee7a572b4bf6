"""Round robin: each candidate in turn."""

from typing import Literal

from pydantic import Field

from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.routing_policy import ROUTING_POLICIES, Candidates, RoutingPolicy
from cluster_sim.workload.request import Request


class RoundRobinOptions(RouterOptions):
    """Each replica in turn; observes nothing."""

    policy: Literal["round_robin"] = Field("round_robin", description="Each replica in turn.")


@ROUTING_POLICIES.register("round_robin", RoundRobinOptions)
class RoundRobin(RoutingPolicy):
    """Each candidate in turn."""

    def __init__(self, options: RoundRobinOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._count = candidates.count
        self._next = 0

    def choose(self, request: Request, now_ns: int) -> int:
        """Return the next in turn."""
        chosen = self._next
        self._next = (chosen + 1) % self._count
        return chosen
