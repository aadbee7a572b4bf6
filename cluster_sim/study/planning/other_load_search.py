"""Sizing of the best layout for another load than the plan's."""

from dataclasses import dataclass
from typing import Final

from cluster_sim.study.planning.autoscaled import AutoscaledSearch
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.layout_search import LayoutSearch

MOST_GROWTH: Final = 4
"""A size for another load is searched up to so many times the best fleet's."""


@dataclass(frozen=True, slots=True)
class OtherLoad:
    """The size that the best layout needs for another load."""

    name: str
    evidence: FleetEvidence | None
    """From one run; None if it is not known."""
    remark: str = ""
    """Why it is not known."""


@dataclass(frozen=True, slots=True)
class OtherLoadSearch:
    """The search of the best layout's size for another load."""

    name: str
    prefix: str
    """Begins the keys of its runs."""
    best: FleetEvidence
    search: LayoutSearch | AutoscaledSearch | None
    remark: str = ""

    def wanted(self) -> list[tuple[str, FleetEvidence, int]]:
        """Return the runs that are needed next; a fleet smaller than the best does not carry the load as it is."""
        if self.search is None:
            return []
        fleet = self.best.fleet
        runs = self.search.wanted(MOST_GROWTH * sum(fleet.replicas))
        return [(self.prefix + one.fleet.key, one, number) for one, number in runs if one.fleet.size >= fleet.size]

    def answer(self, *, is_out_of_time: bool) -> OtherLoad:
        """Return the size that was found, or why none was."""
        found = self.search.answer if self.search is not None else None
        if found is not None or self.remark:
            return OtherLoad(self.name, found, self.remark)
        if is_out_of_time:
            return OtherLoad(self.name, None, "time ran out")
        tried = max(self.search.known if self.search else [], key=lambda one: one.fleet.size, default=None)
        largest = (
            "" if tried is None else f"; the largest that was tried, {tried.fleet.label}, does not meet the limits"
        )
        return OtherLoad(self.name, None, f"no size was found{largest}")
