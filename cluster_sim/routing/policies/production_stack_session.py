"""Session routing of the vLLM production-stack (``routing.session_ring`` has the rule and its source)."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.session_ring import SessionRing
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class ProductionStackSessionOptions(RouterOptions):
    """vLLM production-stack's session routing: a hash ring, else the lowest request rate; observes nothing."""

    policy: Literal["production_stack_session"] = Field(
        "production_stack_session", description="The vLLM production-stack's session routing."
    )
    virtual_nodes: int = Field(160, ge=1, le=10_000, description="Points of each replica on the ring.")
    rate_window_s: float = Field(60.0, gt=0, le=LONGEST_RUN_S, description="Time over which request rates are counted.")


@ROUTING_POLICIES.register("production_stack_session", ProductionStackSessionOptions)
class ProductionStackSession(RoutingPolicy):
    """The candidate behind the session on the ring."""

    def __init__(self, options: ProductionStackSessionOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        window_ns = round(options.rate_window_s * NS_PER_S)
        self._ring = SessionRing(candidates, options.virtual_nodes, window_ns, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the session's position, or that of the lowest rate."""
        positions = range(self.candidates.count) if eligible is None else eligible
        chosen = self._ring.choose(request, now_ns, positions)
        self._ring.note(chosen, now_ns)
        return chosen

    def on_join(self, position: int) -> None:
        """Put it on the ring."""
        self._ring.add(position)
