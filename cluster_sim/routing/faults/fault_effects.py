"""Effects of faults: what a fault of a study means to replicas, transfers and the router."""

from typing import Literal, NamedTuple

from cluster_sim.serving.lives.drawn_timeline import DrawnFault
from cluster_sim.serving.lives.intervals import Interval

ReplicaFaultKind = Literal["crash", "slowdown", "hang", "outage"]


class ReplicaFault(NamedTuple):
    """A fault of some replicas."""

    kind: ReplicaFaultKind
    replicas: frozenset[int]
    """Their numbers."""
    joins_pool: str = ""
    """A pool whose later replicas have the fault too."""
    intervals: tuple[Interval, ...] = ()
    """The times of a fault that is scripted."""
    drawn: DrawnFault | None = None
    """The fault if its times are drawn."""


class TransferFault(NamedTuple):
    """Links between replicas that move KV caches slower, or not at all."""

    replicas: frozenset[int]
    """Numbers of the replicas at whose end the link is."""
    intervals: tuple[Interval, ...]
    drawn: DrawnFault | None
    bandwidth_ratio: float
    """What is left of the bandwidth; 0 moves nothing."""
    joins_pool: str = ""
    """A pool whose later replicas have the fault too."""


class RouterFault(NamedTuple):
    """Restarts of the router: from the beginning of an interval on it is away, and comes back at the end."""

    intervals: tuple[Interval, ...]
    drawn: DrawnFault | None


FaultEffect = ReplicaFault | TransferFault | RouterFault


def has_fault(effect: ReplicaFault | TransferFault, replica: int, pool: str, *, joins: bool) -> bool:
    """Return whether a replica of a pool has a fault; ``joins`` says that the run did not start with the replica."""
    return bool(pool) and effect.joins_pool == pool if joins else replica in effect.replicas


class PoolView(NamedTuple):
    """What a fault must know of a pool."""

    name: str
    replicas: range
    """Numbers of the replicas that the study starts with."""
    role: str = ""


class FleetView(NamedTuple):
    """What a fault must know of the fleet."""

    pools: tuple[PoolView, ...]

    @property
    def total(self) -> int:
        """Replicas that the study starts with."""
        return sum(len(pool.replicas) for pool in self.pools)
