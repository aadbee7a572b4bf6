"""Least outstanding requests: the router's own count of what it has sent and not had back."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.tied_minimum import TiedMinimum
from cluster_sim.workload.request import Request


class LeastOutstandingOptions(RouterOptions):
    """The replica with the fewest requests in flight; observes when requests end."""

    policy: Literal["least_outstanding"] = Field("least_outstanding", description="Fewest requests in flight.")


@ROUTING_POLICIES.register("least_outstanding", LeastOutstandingOptions)
class LeastOutstanding(RoutingPolicy):
    """The candidate with the fewest requests in flight."""

    observes_responses: ClassVar = True

    def __init__(self, options: LeastOutstandingOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._counts = TiedMinimum(candidates.count, candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position with the lowest count, and count the request there."""
        chosen = self._counts.least(request.request_id, eligible)
        self._counts.set(chosen, self._counts.counts[chosen] + 1)
        return chosen

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._counts.grow(position + 1)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts.set(position, self._counts.counts[position] - 1)
