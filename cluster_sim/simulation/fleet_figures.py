"""Figures of the fleet as the router sees it, for live metrics."""

from cluster_sim.metrics.live import FleetLive, PoolLive
from cluster_sim.routing.hub import RouterHub
from cluster_sim.routing.membership import DOWN, DRAINING, GONE, STARTING, Member


def fleet_figures(hub: RouterHub) -> FleetLive:
    """Return the replicas of every pool by what they do, and what the router's components have done."""
    members: dict[int, list[Member]] = {facts.index: [] for facts in hub.membership.pools}
    for member in hub.membership:
        members[member.pool].append(member)
    pools = tuple(_pool(of_pool, hub.replicas_at_start) for _, of_pool in sorted(members.items()))
    return FleetLive(pools, hub.queued, hub.migrated, hub.moved_bytes or 0)


def _pool(members: list[Member], at_start: int) -> PoolLive:
    states = [_state(member) for member in members]
    return PoolLive(
        ready=states.count("ready"),
        starting=states.count(STARTING),
        draining=states.count(DRAINING),
        down=states.count(DOWN),
        unhealthy=states.count("unhealthy"),
        joined=sum(member.number >= at_start for member in members),
        left=states.count(GONE),
    )


def _state(member: Member) -> str:
    """Return why a replica takes no requests, the gravest reason first."""
    for reason in (GONE, DOWN, STARTING, DRAINING):
        if reason in member.blocked_by:
            return reason
    return "unhealthy" if member.blocked_by else "ready"
