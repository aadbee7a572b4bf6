"""Priority aware: urgent requests see the load that can hold them up, and some replicas are kept for them.

Engines with priority scheduling let an urgent request pass everything that is less urgent.  So of the load only the
requests at least as urgent count first, then all.  With ``reserved_ratio`` the last part of the eligible replicas takes
only requests of ``urgent_priority`` or below (lower is more urgent, as in vLLM).
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.workload.request import Request


class PriorityAwareOptions(RouterOptions):
    """The fewest requests in flight that are at least as urgent; observes when requests end."""

    policy: Literal["priority_aware"] = Field(
        "priority_aware", description="Fewest requests that are at least as urgent."
    )
    urgent_priority: int = Field(
        0,
        ge=-(2**31),
        le=2**31,
        description="Highest priority value that is urgent (lower is more urgent).",
    )
    reserved_ratio: float = Field(
        0.0, ge=0, lt=1, description="Share of the eligible replicas, rounded down, that only urgent requests use."
    )


@ROUTING_POLICIES.register("priority_aware", PriorityAwareOptions)
class PriorityAware(RoutingPolicy):
    """The candidate with the least load as a request of its priority meets it."""

    observes_responses: ClassVar = True

    def __init__(self, options: PriorityAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._urgent = options.urgent_priority
        self._reserved_ratio = options.reserved_ratio
        self._priorities: list[list[int]] = [[] for _ in range(candidates.count)]
        """Of the requests in flight at each position, ascending."""
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the least load, and count the request there."""
        positions: Sequence[int] = range(len(self._priorities)) if eligible is None else eligible
        priority = request.attributes.priority
        if priority > self._urgent:
            positions = positions[: len(positions) - int(self._reserved_ratio * len(positions))]
        loads = [
            (bisect_right(self._priorities[position], priority), len(self._priorities[position]))
            for position in positions
        ]
        least = min(loads)
        equal = [position for position, load in zip(positions, loads, strict=True) if load == least]
        chosen = self._ties.one_of(equal, request.request_id)
        insort(self._priorities[chosen], priority)
        return chosen

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._priorities.append([])

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._priorities[position].remove(request.attributes.priority)
