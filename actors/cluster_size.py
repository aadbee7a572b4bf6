"""CPUs of a Ray cluster whose nodes are still joining."""

import time
from collections.abc import Callable
from typing import Final

from actors.actor_creation import cluster_cpus
from cluster_sim.errors import UnfinishedError
from cluster_sim.shown_values import by_number, counted

JOIN_S: Final = 300.0
"""How long nodes may take to join."""
_POLL_S: Final = 0.5


def await_cpus(
    wanted: float | None,
    limit_s: float = JOIN_S,
    cpus: Callable[[], list[float]] = cluster_cpus,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Return the CPUs of each node once they are ``wanted`` together; None takes what there is, if it is any.

    Actors are placed on the nodes that are there: without a wait a driver that comes before the workers would put all
    of them on nodes that offer nothing.  Raises UnfinishedError if the nodes do not come, or offer no CPU at all.
    """
    deadline = time.monotonic() + limit_s
    nodes = cpus()
    while wanted is not None and sum(nodes) < wanted and time.monotonic() < deadline:
        sleep(_POLL_S)
        nodes = cpus()
    offered = sum(nodes)
    if wanted is not None and offered < wanted:
        raise UnfinishedError(
            f"the cluster offers {offered:g} {by_number(offered, 'CPU', 'CPUs')} on {counted(len(nodes), 'node')} "
            f"after {limit_s:g} s, --min-cpus asks for {wanted:g}; start more workers, or ask for fewer"
        )
    if not offered:
        raise UnfinishedError(
            f"the cluster's {counted(len(nodes), 'node')} {by_number(len(nodes), 'offers', 'offer')} no CPU for "
            "actors; start a worker, or wait for those that are starting with --min-cpus N"
        )
    return nodes
