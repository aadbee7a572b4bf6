"""Round robin: each candidate in turn."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
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

    def on_join(self, position: int) -> None:
        """Give it the last turn of a round."""
        self._count = position + 1

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the next in turn, without those that cannot run the request."""
        chosen = self._next
        if eligible is not None:
            chosen = eligible[bisect_left(eligible, chosen) % len(eligible)]
        self._next = (chosen + 1) % self._count
        return chosen
