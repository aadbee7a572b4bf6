"""Autoscaled fleets: the bounds between which the study's autoscaler moves, and the search of the lower one.

Design.  A fixed fleet that meets the limits is an autoscaled one whose bounds are both its size.  The lower its lower
bound, the less it costs and the later it is for a rise of the load, so the verdict changes once along the lower bounds:
the search tries the lowest, then the highest that can pay, then halves what is between.  The run begins with the fixed
fleet's replicas, as if it had carried a high load before.
"""

from collections.abc import Callable
from typing import Final

from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Bounds, Fleet
from cluster_sim.study.planning.layout_search import LayoutSearch

ROOM_FACTOR: Final = 2
"""An upper bound that the study leaves open is so many times the fixed fleet."""


class BoundsSearch:
    """The lower bounds of one layout that are known, and the runs that are still wanted."""

    def __init__(self, fleets: Callable[[int], FleetEvidence], lowest: int, highest: int) -> None:
        """``fleets`` gives what is known of the fleet with a lower bound, of which the two numbers are the ends."""
        self._fleets = fleets
        self._lowest = lowest
        self._highest = highest
        self._tried: set[int] = set()

    @property
    def known(self) -> list[FleetEvidence]:
        """What is known, by lower bound."""
        found = (self._evidence(number) for number in sorted(self._tried))
        return [evidence for evidence in found if evidence.is_known]

    @property
    def answer(self) -> FleetEvidence | None:
        """The fleet with the lowest bound whose verdict stands and is met."""
        return next((evidence for evidence in self.known if evidence.is_confirmed and evidence.is_met), None)

    def wanted(self, most: int) -> list[tuple[FleetEvidence, int]]:
        """Return the runs (fleet, number) that the search needs next, with lower bounds up to ``most``."""
        below, above = self._lowest, min(self._highest, most)
        if above < below:
            return []
        for evidence in self.known:
            if len(evidence.runs) >= evidence.replications and not evidence.is_confirmed:
                return [(evidence, number) for number in evidence.missing()]  # Chance alone decides: more runs do.
        for end in (below, above):
            evidence = self._evidence(end)
            if not evidence.is_known:
                return [(evidence, 0)]
            if end == below and (evidence.is_met or evidence.error):
                return [(evidence, number) for number in evidence.missing()]
        if not self._evidence(above).is_met:
            return []
        while above - below > 1:
            middle = (below + above) // 2
            evidence = self._evidence(middle)
            if not evidence.is_known:
                return [(evidence, 0)]
            below, above = (below, middle) if evidence.is_met else (middle, above)
        sides = [self._evidence(above), self._evidence(below)]
        return [(side, number) for side in sides for number in side.missing()]

    def _evidence(self, number: int) -> FleetEvidence:
        self._tried.add(number)
        return self._fleets(number)


class AutoscaledSearch:
    """The search of an autoscaled fleet for another load: the fixed fleet that carries it, then the bounds around it.

    The replicas of the start are those of the fixed fleet, so that they grow with the load.
    """

    def __init__(self, fixed: LayoutSearch, bounds: Callable[[Fleet], BoundsSearch | None]) -> None:
        """``bounds`` returns the search around a fixed fleet; None if the constraints leave no room."""
        self._fixed = fixed
        self._bounds = bounds
        self._scaled: BoundsSearch | None = None

    @property
    def known(self) -> list[FleetEvidence]:
        """What is known, fixed fleets first."""
        return [*self._fixed.known, *(self._scaled.known if self._scaled is not None else [])]

    @property
    def answer(self) -> FleetEvidence | None:
        """The fleet with the lowest bound that meets the limits; the fixed one if none does."""
        scaled = self._scaled.answer if self._scaled is not None else None
        return scaled or self._fixed.answer

    def wanted(self, most: int) -> list[tuple[FleetEvidence, int]]:
        """Return the runs (fleet, number) that are needed next, among fixed fleets up to ``most`` replicas.

        None of them has fewer replicas than the search starts with: those do not carry the load as it is.
        """
        runs = [run for run in self._fixed.wanted(most) if run[0].fleet.size >= self._fixed.start]
        fixed = self._fixed.answer
        if runs or fixed is None:
            return runs
        if self._scaled is None:
            self._scaled = self._bounds(fixed.fleet)
        return [] if self._scaled is None else self._scaled.wanted(fixed.fleet.size)


def check_autoscaler(base: Study) -> None:
    """Raise InputError for an autoscaler whose bounds a plan cannot choose."""
    if base.autoscaler is not None and base.autoscaler.bounds:
        raise InputError(
            "autoscaler.bounds: plan chooses the bounds of its one pool; limit them by autoscaler.min_replicas and "
            "autoscaler.max_replicas"
        )


def autoscaled(fixed: Fleet, options: AutoscalerOptions, block: PlanBlock) -> Fleet | None:
    """Return the autoscaled fleet with the widest bounds around a fixed one; None if the constraints leave no room.

    Bounds that the study gives are kept to.
    """
    given = options.model_fields_set
    least = options.min_replicas if "min_replicas" in given else 1
    most = options.max_replicas if "max_replicas" in given else ROOM_FACTOR * fixed.size
    if block.max_gpus is not None:
        most = min(most, block.max_gpus // fixed.layout.gpus)
    if most < max(least, 1):
        return None
    return Fleet(fixed.layout, (min(max(fixed.size, least), most),), Bounds(least, most))
