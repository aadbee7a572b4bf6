"""Ways between sites: the fastest chain of routes, with its latency and what it may carry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster_sim.hardware.interconnect.directions import Direction, one_way


class SiteRoute(NamedTuple):
    """One way between two sites."""

    latency_ns: int
    bytes_per_s: int | None
    """Shared by everything that passes; None does not limit."""


class SiteWay(NamedTuple):
    """The fastest way from one site to another, over one or several routes."""

    latency_ns: int
    routes: tuple[tuple[str, str], ...]
    """(from, to) of the routes passed, in order."""


@dataclass(frozen=True, slots=True)
class SiteRoutes:
    """All routes, by (from, to)."""

    routes: Mapping[tuple[str, str], SiteRoute] = field(default_factory=dict)

    def way(self, source: str, target: str) -> SiteWay | None:
        """Return the fastest way, of equally fast ones that with the fewest routes, then the first by name.

        None if there is no way; within a site it takes no time.
        """
        if source == target:
            return SiteWay(0, ())
        best: dict[str, tuple[int, int, tuple[tuple[str, str], ...]]] = {source: (0, 0, ())}
        changed = True
        while changed:
            changed = False
            for (start, end), route in sorted(self.routes.items()):
                if start not in best:
                    continue
                latency_ns, hops, passed = best[start]
                found = (latency_ns + route.latency_ns, hops + 1, (*passed, (start, end)))
                if end not in best or found < best[end]:
                    best[end] = found
                    changed = True
        if target not in best:
            return None
        latency_ns, _, passed = best[target]
        return SiteWay(latency_ns, passed)


def site_routes(entries: Sequence[tuple[Direction, SiteRoute]]) -> SiteRoutes:
    """Return the routes that a study gives.

    Where an entry leads one way and no chain of entries leads back, the way back takes as long: requests and their
    answers pass both ways.
    """
    routes = {pair: route for direction, route in entries for pair in direction.pairs()}
    route_of = dict(entries)
    for direction in one_way([direction for direction, _ in entries]):
        if SiteRoutes(routes).way(direction.target, direction.source) is None:
            routes[direction.target, direction.source] = route_of[direction]
    return SiteRoutes(routes)
