"""Records of a finished run, from which all its figures are computed."""

from collections.abc import Sequence
from typing import NamedTuple

from cluster_sim.metrics.encoder_figures import EncoderWork
from cluster_sim.metrics.imbalance import Imbalance
from cluster_sim.metrics.occupancy import Occupancy
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.units import NS_PER_S


class RunRecords(NamedTuple):
    """The records of the hub, and those of the replicas in the order of their numbers."""

    totals: RequestTotals
    replicas: Sequence[ReplicaCounters]
    gaps: Sequence[QuantileSketch]
    """Token gaps of each replica."""
    end_ns: int
    """End of the run."""
    arrived: int
    """Requests that the hub has received."""
    max_waiting: int = 0
    """Most requests that waited at one replica at a tick of the series."""
    occupancies: Sequence[Occupancy] = ()
    """Of each pool; none without a series."""
    imbalances: Sequence[Imbalance] = ()
    """Of each pool, then of the fleet; none without a series."""
    joined_pools: Sequence[int] = ()
    """Pools of the replicas that have joined during the run, in the order of their numbers."""
    repeated: int = 0
    """Rows with an id that another row has."""
    moved_bytes: int | None = None
    """Bytes of all transfers between replicas by the router's own count; None if nothing counts them."""
    encoder_work: EncoderWork = EncoderWork(0, 0)
    """Of encoders apart from the replicas."""

    def pool_of_replica(self, metadata: RunMetadata) -> list[int]:
        """Return the pool's index for every replica, in the order of the replicas' numbers."""
        return [*metadata.pool_of_replica(), *self.joined_pools]

    @property
    def is_on_edge(self) -> bool:
        """Whether a pool sits on the edge of what it can hold."""
        return any(occupancy.is_on_edge for occupancy in self.occupancies)

    @property
    def duration_s(self) -> float:
        """Length of the run, from 0 to its end."""
        return self.end_ns / NS_PER_S
