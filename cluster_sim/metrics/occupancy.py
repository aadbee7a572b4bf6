"""Occupancy of the replicas: how close running requests and used KV blocks come to their limits.

A tally of the series, tick by tick and pool by pool, in thousandths of the limit, rounded up.  Its 99th percentiles say
whether a run sits on the edge, where a little more load or slightly longer steps turn into queueing, or lies beyond it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.units import NS_PER_S

EDGE_RATIO: Final = 0.95
"""A 99th percentile above this share of a limit is the edge."""
QUEUEING_RATIO: Final = 0.1
"""A median time in the queue above this share of the median end-to-end time is queueing; up to a step is none."""
_PARTS: Final = 1000
_RANK: Final = 0.99


Counts = list[dict[str, npt.NDArray[np.int64]]]
"""Blocks of columns."""
_KINDS: Final = ("running", "kv_used_blocks")


class Occupancy(NamedTuple):
    """99th percentiles of one pool over replicas and ticks, as shares of the limits; None where there is no series."""

    running_p99_ratio: float | None = None
    kv_used_p99_ratio: float | None = None

    @property
    def is_on_edge(self) -> bool:
        """Whether either is above ``EDGE_RATIO``."""
        return any(ratio is not None and ratio > EDGE_RATIO for ratio in self)


class OccupancyTally:
    """Counts the ticks of every replica's series by the share of the limits in use."""

    def __init__(self, metadata: RunMetadata) -> None:
        self._pool_of_replica = metadata.pool_of_replica()
        self._joined: dict[int, Counts] = {}
        """Ticks of replicas that have joined, by number: their pools, and so their limits, are known at the end."""
        self._limits = [(pool.max_num_seqs, pool.kv_blocks) for pool in metadata.pools]
        self._counts = np.zeros((len(metadata.pools), 2, _PARTS + 1), np.int64)
        self._with_rows: set[int] = set()

    def add(self, replica: int, columns: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Count what ``ReplicaLog.take_series`` of ``replica`` returned."""
        if not len(columns["running"]):
            return
        self._with_rows.add(replica)
        if replica >= len(self._pool_of_replica):
            self._joined.setdefault(replica, []).append({name: columns[name].copy() for name in _KINDS})
            return
        pool = self._pool_of_replica[replica]
        for kind, name in enumerate(_KINDS):
            limit = self._limits[pool][kind]
            if limit:
                parts = np.minimum(-(-_PARTS * columns[name] // limit), _PARTS)
                self._counts[pool, kind] += np.bincount(parts, minlength=_PARTS + 1)

    def pools(self, joined_pools: Sequence[int] = (), ticks: int = 0) -> list[Occupancy]:
        """Return the occupancy of every pool; ``joined_pools`` has the pools of the replicas that have joined.

        A replica without rows was empty at each of the run's ``ticks``.
        """
        for replica, pool in enumerate(self._pool_of_replica):
            if replica not in self._with_rows:
                for kind, limit in enumerate(self._limits[pool]):
                    self._counts[pool, kind, 0] += ticks if limit else 0
        self._with_rows.update(range(len(self._pool_of_replica)))
        self._pool_of_replica = [*self._pool_of_replica, *joined_pools]
        for replica, blocks in self._joined.items():
            for columns in blocks:
                self.add(replica, columns)
        self._joined.clear()
        return [Occupancy(*(_percentile(counts) for counts in pool)) for pool in self._counts]


def edge_warnings(
    metadata: RunMetadata, occupancies: Sequence[Occupancy], totals: RequestTotals | None = None
) -> list[str]:
    """Return a sentence for every pool that sits on the edge, or that is full and has requests that queue already."""
    found = []
    for index, (pool, occupancy) in enumerate(zip(metadata.pools, occupancies, strict=False)):
        words = [
            f"{ratio:.1%} of its {limit:,} {noun}"
            for ratio, limit, noun in (
                (occupancy.running_p99_ratio, pool.max_num_seqs, "slots for running requests"),
                (occupancy.kv_used_p99_ratio, pool.kv_blocks, "KV blocks"),
            )
            if ratio is not None and ratio > EDGE_RATIO
        ]
        if not words:
            continue
        used = f"a replica uses {' and '.join(words)} (99th percentile)"
        queue_s = 0.0
        if totals is not None:
            queue_s = _queue_s(totals.pool_sketches[index] if len(metadata.pools) > 1 else totals.sketches)
        if queue_s:
            found.append(
                f"Pool {pool.name} is full: {used}, and half of its requests queue for {queue_s:,.3g} s or longer, so "
                "more load, or steps longer than predicted, makes them queue longer still."
            )
        else:
            found.append(
                f"Pool {pool.name} sits on the edge: {used}, so a little more load, or steps a little longer than "
                "predicted, turns into queueing."
            )
    return found


def _queue_s(sketches: Mapping[str, QuantileSketch]) -> float:
    """Return the median time that requests queue; 0 where it is a small part of what they take."""
    queue_ns = sketches["queue"].quantile(0.5)
    return queue_ns / NS_PER_S if queue_ns > QUEUEING_RATIO * sketches["e2e"].quantile(0.5) else 0.0


def occupancy_entry(occupancy: Occupancy | None) -> dict[str, Any]:
    """Return a pool's occupancy as the summary has it."""
    return (occupancy or Occupancy())._asdict()


def _percentile(counts: npt.NDArray[np.int64]) -> float | None:
    """Return the smallest share that so many of the ticks do not exceed; None without ticks."""
    total = int(counts.sum())
    if not total:
        return None
    return int(np.searchsorted(np.cumsum(counts), _RANK * total)) / _PARTS
