"""Cost aware: cheaper replicas are filled first, wherever they stand; dearer ones take what is left.

The price of a replica is that of its GPUs an hour over the requests that it runs at once, plus what its distance is
worth. A replica is full when its requests in flight reach ``fill_ratio`` of ``max_num_seqs``.  Among replicas of one
price the fewest requests in flight win; when all are full, the fewest relative to what they run at once.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.units import NS_PER_MS
from cluster_sim.workload.request import Request


class CostAwareOptions(RouterOptions):
    """The cheapest replica that is not full, over all sites; observes when requests end."""

    policy: Literal["cost_aware"] = Field("cost_aware", description="Cheapest replicas first, until they are full.")
    fill_ratio: float = Field(
        0.8, gt=0, le=1e6, description="Requests in flight over `max_num_seqs` at which a replica is full."
    )
    usd_per_hour_per_ms: float = Field(
        0.0, ge=0, le=1e9, description="Price that each ms of link latency adds to an hour of a replica."
    )


@ROUTING_POLICIES.register("cost_aware", CostAwareOptions)
class CostAware(RoutingPolicy):
    """The cheapest candidate that is not full."""

    observes_responses: ClassVar = True
    options: CostAwareOptions

    def __init__(self, options: CostAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")
        self._counts: list[int] = []
        self._slots: list[int] = []
        """Requests that each candidate runs at once."""
        self._most: list[float] = []
        """Requests in flight with which each candidate is full."""
        self._prices: list[float] = []
        for position in range(candidates.count):
            self.on_join(position)

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the lowest price that has room, and count the request there."""
        counts, most, prices = self._counts, self._most, self._prices
        positions = range(len(counts)) if eligible is None else eligible
        roomy = [position for position in positions if counts[position] < most[position]]
        if roomy:
            cheapest = min([prices[position] for position in roomy])
            equal = [position for position in roomy if prices[position] == cheapest]
            chosen = self._ties.least(equal, counts, request.request_id)
        else:
            shares = [count / slots for count, slots in zip(counts, self._slots, strict=True)]
            chosen = self._ties.least(positions, shares, request.request_id)
        counts[chosen] += 1
        return chosen

    def on_join(self, position: int) -> None:
        """Note its price and its room."""
        member = self.candidates.members[position]
        slots = max(1, member.max_num_seqs)
        distance_ms = self.candidates.forward_ns[position] / NS_PER_MS
        self._counts.append(0)
        self._slots.append(slots)
        self._most.append(self.options.fill_ratio * slots)
        self._prices.append((member.usd_per_hour + self.options.usd_per_hour_per_ms * distance_ms) / slots)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts[position] -= 1
