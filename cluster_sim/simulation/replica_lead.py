"""Lead of replicas over the run: they decide when a batch ends as soon as they schedule it.

A fault that begins later than that finds everything as it would have been if it had been known from the start.
"""

from typing import Final, NamedTuple

from cluster_sim.simulation.simulation import Processes
from cluster_sim.units import NS_PER_MS

_QUEUED_NS: Final = NS_PER_MS
"""What has waited for a lost link arrives within this after it: one message after the other."""


class ReplicaAhead(NamedTuple):
    """A replica at one time of a run."""

    pool: str
    decided_ns: int
    """What it does up to and including this is decided."""


def replicas_ahead(processes: Processes, at_ns: int) -> list[ReplicaAhead]:
    """Return the replicas that there are at ``at_ns``, by number."""
    delays = {source: links for group in processes.groups.values() for source, links in group.delays.items()}
    found = []
    for replica in processes.replicas:
        settings, forward_ns = replica.settings, delays[replica.source].forward_ns
        decided_ns = max(at_ns + forward_ns, replica.counters().upto_ns, *replica.pipeline.free_ns)
        timeline = settings.timeline.born_at(max(replica.log.joined_ns, 0))
        outage = timeline.outages.holding(decided_ns)
        if outage is not None:
            decided_ns = outage.end_ns + forward_ns + _QUEUED_NS
        found.append(ReplicaAhead(settings.pool, decided_ns))
    return found
