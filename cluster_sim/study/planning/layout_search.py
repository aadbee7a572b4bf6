"""Search of one layout: the smallest number of replicas that meets the limits.

Design.  More replicas never make latencies worse, up to noise, so the verdict changes once along the sizes.  The search
begins at the estimate, finds the edge on single runs, then makes all replications on both sides of it: of the size that
meets the limits, and of the one that is one replica smaller, unless that is far off.  A side whose verdict changes
moves the edge.  Nothing here runs anything: ``wanted`` says which runs come next, whatever their order of ending.
"""

import math
from collections.abc import Callable
from typing import Final

from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout

LEAST_GROWTH: Final = 0.1
MOST_GROWTH: Final = 0.5
"""Shares of a size that misses the limits by which the next one is larger, but for one replica at least."""
STUCK_RATIO: Final = 0.98
"""Doubling the replicas leaves more than this of a figure: more of them do not help."""


class LayoutSearch:
    """The sizes of one layout that are known, and the runs that are still wanted."""

    def __init__(self, layout: Layout, start: int, evidence_of: Callable[[Fleet], FleetEvidence]) -> None:
        """``start`` is the first size tried; ``evidence_of`` gives what is known of a fleet, which is shared."""
        self.layout = layout
        self.start = max(1, start)
        self._evidence_of = evidence_of
        self._sizes: set[int] = set()

    def evidence(self, size: int) -> FleetEvidence:
        """Return what is known of a size."""
        self._sizes.add(size)
        return self._evidence_of(Fleet(self.layout, (size,)))

    @property
    def known(self) -> list[FleetEvidence]:
        """What is known, by size."""
        found = (self.evidence(size) for size in sorted(self._sizes))
        return [evidence for evidence in found if evidence.is_known]

    @property
    def answer(self) -> FleetEvidence | None:
        """The smallest size whose verdict stands and is met."""
        return next((evidence for evidence in self.known if evidence.is_confirmed and evidence.is_met), None)

    def wanted(self, most: int) -> list[tuple[FleetEvidence, int]]:
        """Return the runs (fleet, number) that the search needs next, among sizes up to ``most``."""
        while True:
            runs = self._next(most)
            if len(runs) != 1 or runs[0][1] not in runs[0][0].runs:
                return runs  # Else the run of a size that was not asked for before is stored already.

    def _next(self, most: int) -> list[tuple[FleetEvidence, int]]:
        known = [evidence for evidence in self.known if evidence.fleet.size <= most]
        for evidence in known:
            if len(evidence.runs) >= evidence.replications and not evidence.is_confirmed:
                return [(evidence, number) for number in evidence.missing()]  # Chance alone decides: more runs do.
        failing = [evidence for evidence in known if not evidence.is_met]
        meeting = [evidence for evidence in known if evidence.is_met]
        above = min((evidence.fleet.size for evidence in meeting), default=None)
        below = max((e.fleet.size for e in failing if above is None or e.fleet.size < above), default=0)
        if above is None:
            size = self._larger(failing, most)
            return [] if size is None else [(self.evidence(size), 0)]
        if above - below > 1:
            return [(self.evidence(self._between(below, above)), 0)]
        sides = [self.evidence(above), *([self.evidence(below)] if below else [])]
        return [(side, number) for side in sides for number in side.missing()]

    def _larger(self, failing: list[FleetEvidence], most: int) -> int | None:
        """Return the next size while none is known that meets the limits; None if there is none to try."""
        if most < 1:
            return None
        if not failing:
            return min(self.start, most)
        last = failing[-1]
        size = last.fleet.size
        if last.error or size >= most or self._is_stuck(failing):
            return None
        # What is missing of the limit, at its far end, is about what is missing of the replicas.
        missing = min(MOST_GROWTH, max(last.far_ratio - 1, LEAST_GROWTH))
        return min(most, size + max(1, round(missing * size)))

    def _is_stuck(self, failing: list[FleetEvidence]) -> bool:
        """Return whether twice as many replicas changed nothing."""
        last = failing[-1]
        halves = [one for one in failing if 2 * one.fleet.size <= last.fleet.size and math.isfinite(one.ratio)]
        return bool(halves) and last.ratio > STUCK_RATIO * halves[-1].ratio

    def _between(self, below: int, above: int) -> int:
        """Return a size strictly between two: next to the upper one if that is near its limit, else in the middle."""
        is_near = self.evidence(above).ratio > 0.5
        return above - 1 if is_near else (below + above) // 2
