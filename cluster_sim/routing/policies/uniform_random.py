"""Random choice: a uniform draw keyed by the request's id, so that it does not depend on who was routed before."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.engine.draws import draw_below, stream_key
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.workload.request import Request


class RandomOptions(RouterOptions):
    """A random replica, each as likely; observes nothing."""

    policy: Literal["random"] = Field("random", description="A random replica.")


@ROUTING_POLICIES.register("random", RandomOptions)
class UniformRandom(RoutingPolicy):
    """A uniform draw for each request."""

    def __init__(self, options: RandomOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._count = candidates.count
        self._key = stream_key(candidates.seed, "router", "random")

    def on_join(self, position: int) -> None:
        """Draw among one more."""
        self._count = position + 1

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position drawn for this request."""
        if eligible is not None:
            return eligible[draw_below(self._key, request.request_id, len(eligible))]
        return draw_below(self._key, request.request_id, self._count)
