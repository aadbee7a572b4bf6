"""Live figures of data-parallel ranks, which vLLM and SGLang show as engines of their own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.live import EngineMembers, GenerationMeter, LiveSnapshot, RequestsLive
from cluster_sim.metrics.live_figures import FIGURES, WIDTH, EngineFigures, figures_row
from cluster_sim.metrics.request_totals import RequestTotals, rank_row
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.replica_counters import ReplicaCounters

Int64Array = npt.NDArray[np.int64]


class RankFigures:
    """Rows of all ranks by ``rank_row``; a replica without ranks has its own row as the first one."""

    def __init__(self, metadata: RunMetadata) -> None:
        self._ranks = metadata.ranks
        self._matrix = np.zeros((metadata.replicas * self._ranks, WIDTH), np.int64)
        self._meter = GenerationMeter()
        for replica, pool in enumerate(metadata.pool_of_replica()):
            first = rank_row(replica, 0, self._ranks)
            self._matrix[first : first + metadata.pools[pool].ranks, FIGURES["present"]] = 1

    def take(self, replica: int, rows: Int64Array) -> None:
        """Take the rows of a replica: its own, and those of its ranks behind it."""
        first = rank_row(replica, 0, self._ranks)
        missing = first + self._ranks - len(self._matrix)
        if missing > 0:
            self._matrix = np.pad(self._matrix, ((0, missing), (0, 0)))
        own = rows[1:] if len(rows) > 1 else rows
        self._matrix[first : first + len(own)] = own

    def take_all(self, matrix: Int64Array) -> None:
        """Take the rows of all ranks by ``rank_row``."""
        self._matrix = matrix

    def shown(self, snapshot: LiveSnapshot, totals: RequestTotals) -> LiveSnapshot:
        """Return a snapshot with that of the ranks."""
        assert totals.by_rank is not None, "fleets with ranks have totals of them"
        replicas = len(snapshot.engines.matrix)
        missing = rank_row(replicas, 0, self._ranks) - len(self._matrix)
        if missing > 0:
            self._matrix = np.pad(self._matrix, ((0, missing), (0, 0)))
        totals.reserve(replicas)
        engines = EngineFigures(self._matrix.copy())
        by_rank = replace(
            snapshot,
            engines=engines,
            requests=RequestsLive.copy_of(totals.by_rank),
            generation_rates=self._meter.measure(snapshot.simulated_s, engines),
        )
        return replace(snapshot, by_rank=by_rank)


def rank_figures(metadata: RunMetadata, members: EngineMembers) -> RankFigures | None:
    """Return the rows of ranks of a fleet that has some and shows its replicas singly; None of another."""
    return RankFigures(metadata) if metadata.ranks > 1 and members.are_replicas else None


def final_rows(counters: ReplicaCounters, ranks: Sequence[ReplicaCounters]) -> Int64Array:
    """Return the rows of a replica at the end of the run, for ``RankFigures.take``."""
    rows = np.array([figures_row(0, 0, 0, each) for each in (counters, *ranks)], np.int64)
    rows[:, FIGURES["present"]] = rows[0, FIGURES["present"]]
    return rows
