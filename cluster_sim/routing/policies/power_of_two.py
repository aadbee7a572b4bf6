"""Power of two choices: of two replicas drawn at random the one with fewer requests in flight.

Sources: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001; sgl-router's
policy ``power_of_two`` (sgl-project/sglang, sgl-router/src/policies/power_of_two.rs).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.drawn_pairs import DrawnPairs
from cluster_sim.workload.request import Request


class PowerOfTwoOptions(RouterOptions):
    """Of two replicas drawn at random the one with fewer requests in flight; observes when requests end."""

    policy: Literal["power_of_two"] = Field("power_of_two", description="The less loaded of two random replicas.")


@ROUTING_POLICIES.register("power_of_two", PowerOfTwoOptions)
class PowerOfTwo(RoutingPolicy):
    """The less loaded of two random candidates; the first drawn if both are equal."""

    observes_responses: ClassVar = True

    def __init__(self, options: PowerOfTwoOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._pairs = DrawnPairs(candidates.seed)
        self._counts = [0] * candidates.count

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the better of the pair, and count the request there."""
        counts = self._counts
        first, second = self._pairs.draw(request.request_id, range(len(counts)) if eligible is None else eligible)
        chosen = second if counts[second] < counts[first] else first
        counts[chosen] += 1
        return chosen

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._counts.append(0)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts[position] -= 1
