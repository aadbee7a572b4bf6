"""The ``fleet.sites`` block: where the router stands, and how far the sites of the pools are from each other."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from cluster_sim.hardware.interconnect.directions import NAME, Direction, parse_direction, repeated_pair
from cluster_sim.hardware.interconnect.site_routes import SiteRoute, SiteRoutes, site_routes
from cluster_sim.options import MS_PER_DAY, BoundedName, ConfigModel
from cluster_sim.units import NS_PER_MS


def _check_direction(text: str) -> str:
    parse_direction(text)
    return text


LinkEnds = Annotated[str, AfterValidator(_check_direction)]
"""``a - b`` for both directions, ``a -> b`` for one."""


class SiteRouteBlock(ConfigModel):
    """A route between two sites."""

    between: LinkEnds = Field(description="The two sites: 'a - b' for both directions, 'a -> b' for one.")
    latency_ms: float = Field(ge=0, le=MS_PER_DAY, description="Time of a message one way, in milliseconds.")
    bandwidth_gb_per_s: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="What transfers between the sites share in each direction, in GB/s; null does not limit them.",
    )

    @property
    def direction(self) -> Direction:
        """The ends."""
        return parse_direction(self.between)

    @property
    def route(self) -> SiteRoute:
        """What each direction takes."""
        rate = self.bandwidth_gb_per_s
        return SiteRoute(round(self.latency_ms * NS_PER_MS), None if rate is None else round(rate * 1e9))


class Sites(ConfigModel):
    """Sites of the fleet, and the routes between them."""

    router: BoundedName = Field(
        pattern=f"^{NAME}$", description="Site of the router; pools that name no site stand there as well."
    )
    routes: tuple[SiteRouteBlock, ...] = Field(
        (), description="Routes between sites; a way may lead over several of them."
    )

    @model_validator(mode="after")
    def _gives_each_route_once(self) -> Self:
        pair = repeated_pair([route.direction for route in self.routes])
        if pair is not None:
            raise ValueError(f"routes give the way from {pair[0]} to {pair[1]} twice: leave one of them out")
        return self

    @property
    def names(self) -> list[str]:
        """The sites that are named here, the router's first."""
        ends = [name for route in self.routes for name in route.direction[:2]]
        return list(dict.fromkeys([self.router, *ends]))

    def site_routes(self) -> SiteRoutes:
        """Return the ways between the sites."""
        return site_routes([(route.direction, route.route) for route in self.routes])
