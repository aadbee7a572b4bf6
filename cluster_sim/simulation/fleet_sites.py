"""Delays between the router and the pools by the sites at which they stand, and what is doubtful about the routes."""

from cluster_sim.config.schema.fleet import Fleet, Pool
from cluster_sim.engine.group import LinkDelays
from cluster_sim.errors import InputError
from cluster_sim.hardware.interconnect.directions import one_way
from cluster_sim.suggestion import suggestion


def site_of(fleet: Fleet, pool: Pool) -> str:
    """Return the site of a pool; "" if the fleet has no sites."""
    return "" if fleet.sites is None else pool.site or fleet.sites.router


def link_delays(fleet: Fleet) -> list[LinkDelays]:
    """Return the delays between the router and the replicas of each pool: of the network at a site, and of the routes.

    Raises InputError, which begins with the key, for a site without a route to the router and back.
    """
    network = fleet.network
    delays = []
    for index, pool in enumerate(fleet.pools):
        forward_ns, return_ns = network.forward_ns, network.return_ns
        if fleet.sites is None:
            if pool.site is not None:
                raise InputError(
                    f"fleet.pools.{index}.site: {pool.site!r} is the site of a pool, but the fleet has no sites; set "
                    "fleet.sites.router and fleet.sites.routes"
                )
        else:
            router, site = fleet.sites.router, site_of(fleet, pool)
            routes = fleet.sites.site_routes()
            there, back = routes.way(router, site), routes.way(site, router)
            if there is None or back is None:
                names = fleet.sites.names
                raise InputError(
                    f"fleet.pools.{index}.site: no route leads from the router's site {router!r} to {site!r}"
                    f"{suggestion(site, names) if site not in names else ''}; give one in fleet.sites.routes, for "
                    f"example {{between: {router} - {site}, latency_ms: 30}}"
                )
            forward_ns, return_ns = forward_ns + there.latency_ns, return_ns + back.latency_ns
        delays.append(LinkDelays(forward_ns, return_ns))
    return delays


def site_warnings(fleet: Fleet) -> list[str]:
    """Return a sentence for each route that leads one way only."""
    if fleet.sites is None:
        return []
    given = [route.direction for route in fleet.sites.routes]
    known = {pair for direction in given for pair in direction.pairs()}
    routes = fleet.sites.site_routes()
    sentences = []
    for source, target, _ in one_way(given):
        is_assumed = (target, source) in routes.routes and (target, source) not in known
        back = "the way back is taken to be as long" if is_assumed else "the way back leads over other sites"
        sentences.append(
            f"fleet.sites.routes: '{source} -> {target}' leads one way only, so {back}; "
            f"'{source} - {target}' is both directions."
        )
    return sentences
