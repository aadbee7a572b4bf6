"""Weighted: traffic is split over pools, or over replicas by a label, in given proportions.

A weighted backend of the Gateway API (HTTPRoute ``backendRefs[].weight``) or of a canary: the weight is the group's,
its replicas share it evenly.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.engine.draws import draw_below, draw_u64, stream_key
from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.workload.request import Request

Weight = Annotated[float, Field(ge=0, le=1e9)]


class WeightedOptions(RouterOptions):
    """A random pool or label by weight, in it a random replica; observes nothing."""

    policy: Literal["weighted"] = Field("weighted", description="Traffic split by weights.")
    weights: dict[str, Weight] = Field(
        {},
        description="Weight by pool, or by value of `label`; those that are not named get nothing. Empty: all alike.",
    )
    label: str = Field("", description="Label whose values `weights` names; empty if it names pools.")

    @model_validator(mode="after")
    def _somebody_gets_requests(self) -> Self:
        if self.weights and sum(self.weights.values()) == 0:
            raise ValueError("weights sum to zero, so no replica would get a request; give one of them more than 0")
        return self


@ROUTING_POLICIES.register("weighted", WeightedOptions)
class Weighted(RoutingPolicy):
    """A draw of the group by weight, then of the replica."""

    def __init__(self, options: WeightedOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._label = options.label
        self._weights = options.weights
        self._group_key = stream_key(candidates.seed, "router", "weighted group")
        self._member_key = stream_key(candidates.seed, "router", "weighted member")
        groups = [self._group(member) for member in candidates.members]
        if groups and self._weights and not any(self._weights.get(group, 0) for group in groups):
            named = f"label {self._label!r} has the values" if self._label else "pools are"
            raise InputError(
                "router.weights: sum to zero over the replicas of a model, whose "
                f"{named} {', '.join(sorted(set(groups)))}; give one of them a weight above 0"
            )
        self._all = self._grouped(range(candidates.count))

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return a position of the group that is drawn; if only groups without weight are left, any position."""
        groups = self._all if eligible is None else self._grouped(eligible)
        if not groups:
            assert eligible is not None
            return eligible[draw_below(self._member_key, request.request_id, len(eligible))]
        total = sum([weight for weight, _ in groups])
        drawn = draw_u64(self._group_key, request.request_id) / 2**64 * total
        chosen = 0
        while chosen < len(groups) - 1 and drawn >= groups[chosen][0]:
            drawn -= groups[chosen][0]
            chosen += 1
        members = groups[chosen][1]
        return members[draw_below(self._member_key, request.request_id, len(members))]

    def on_join(self, position: int) -> None:
        """Let it share the weight of its group."""
        self._all = self._grouped(range(position + 1))

    def _group(self, member: Candidate) -> str:
        return member.labels.get(self._label, "") if self._label else member.pool

    def _grouped(self, positions: Sequence[int]) -> list[tuple[float, list[int]]]:
        """Return (weight, members) of each group that has a weight, in the order of their first members."""
        if not self._weights:
            return [(1.0, list(positions))]
        groups: dict[str, list[int]] = {}
        members = self.candidates.members
        for position in positions:
            groups.setdefault(self._group(members[position]), []).append(position)
        weighted = [(self._weights.get(group, 0.0), group_members) for group, group_members in groups.items()]
        return [entry for entry in weighted if entry[0] > 0]
