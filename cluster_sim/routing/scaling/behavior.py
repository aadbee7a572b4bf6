"""Behaviour of a horizontal pod autoscaler: stabilisation windows and policies that limit each step.

Source: Kubernetes, pkg/controller/podautoscaler/horizontal.go (autoscaling/v2).  A recommendation is first held against
those of the windows: the number rises to the lowest of the window for increases, and falls to the highest of the window
for decreases.  Policies then limit by how much it may change within their periods.
"""

from math import ceil, floor
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S


class StepPolicy(ConfigModel):
    """The most by which a number of replicas may change within a period."""

    kind: Literal["percent", "replicas"] = Field(description="Whether value is a share of the replicas or a number.")
    value: int = Field(ge=1, le=1_000_000, description="Percent of the replicas at the period's start, or replicas.")
    period_s: float = Field(15.0, gt=0, le=LONGEST_RUN_S, description="The period.")


class Direction(ConfigModel):
    """Behaviour in one direction."""

    stabilization_s: float = Field(ge=0, le=LONGEST_RUN_S, description="Window of earlier recommendations.")
    policies: tuple[StepPolicy, ...] = Field(min_length=1, description="Limits of a step.")
    select: Literal["max", "min", "disabled"] = Field(
        "max", description="The policy that counts: that which allows most, or least; disabled allows no change."
    )


class Behavior:
    """Recommendations and changes so far of one pool."""

    def __init__(self, scale_up: Direction, scale_down: Direction) -> None:
        self._up = scale_up
        self._down = scale_down
        self._recommendations: list[tuple[int, int]] = []
        """(time in ns, replicas), in the order of time."""
        self._changes: list[tuple[int, int]] = []
        """(time in ns, replicas added), in the order of time."""

    def begin(self, current: int, now_ns: int) -> None:
        """Take the number at the start as the first recommendation."""
        if not self._recommendations:
            self._recommendations.append((now_ns, current))

    def apply(self, current: int, recommended: int, least: int, most: int, now_ns: int) -> int:
        """Return the number that follows ``current``, and note the change."""
        stabilized = self._stabilized(current, recommended, now_ns)
        if stabilized > current:
            replicas = min(stabilized, max(self._limit(self._up, current, now_ns, 1), current), most)
        else:
            replicas = max(stabilized, min(self._limit(self._down, current, now_ns, -1), current), least)
        replicas = min(max(replicas, least), most)
        if replicas != current:
            self._changes.append((now_ns, replicas - current))
        return replicas

    def _stabilized(self, current: int, recommended: int, now_ns: int) -> int:
        up_from = now_ns - round(self._up.stabilization_s * NS_PER_S)
        down_from = now_ns - round(self._down.stabilization_s * NS_PER_S)
        oldest = min(up_from, down_from)
        self._recommendations = [entry for entry in self._recommendations if entry[0] > oldest]
        lowest = min([recommended, *(number for time_ns, number in self._recommendations if time_ns > up_from)])
        highest = max([recommended, *(number for time_ns, number in self._recommendations if time_ns > down_from)])
        self._recommendations.append((now_ns, recommended))
        return min(max(current, lowest), highest)

    def _limit(self, direction: Direction, current: int, now_ns: int, sign: int) -> int:
        """Return the furthest number that the policies of a direction allow."""
        if direction.select == "disabled":
            return current
        longest_s = max(policy.period_s for policy in (*self._up.policies, *self._down.policies))
        self._changes = [entry for entry in self._changes if entry[0] > now_ns - round(longest_s * NS_PER_S)]
        limits = []
        for policy in direction.policies:
            since = now_ns - round(policy.period_s * NS_PER_S)
            start = current - sum(change for time_ns, change in self._changes if time_ns > since)
            if policy.kind == "replicas":
                limits.append(start + sign * policy.value)
            elif sign > 0:
                limits.append(ceil(start * (100 + policy.value) / 100))
            else:
                limits.append(floor(start * max(0, 100 - policy.value) / 100))
        takes_furthest = (direction.select == "max") == (sign > 0)
        return max(limits) if takes_furthest else min(limits)
