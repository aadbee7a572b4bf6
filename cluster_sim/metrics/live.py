"""Live snapshots of a run: plain figures, safe to read from another thread."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.replica_log import ReplicaCounters, ReplicaLog

Int64Array = npt.NDArray[np.int64]

SPEED_WINDOW_S: Final = 10.0
"""Wall seconds over which the speed-up of a run is measured."""


class ReplicaLive(NamedTuple):
    """One replica: its state now and its cumulative counters."""

    running: int
    waiting: int
    kv_used_ratio: float
    counters: ReplicaCounters


@dataclass(frozen=True, slots=True)
class RequestsLive:
    """Copies of the running totals over requests; the first axis of arrays by replica is the replica's number."""

    statuses: Int64Array
    replica_statuses: Int64Array
    sums: npt.NDArray[np.object_]
    histograms: dict[str, Int64Array]
    token_bounds: tuple[int, ...]

    @classmethod
    def copy_of(cls, totals: RequestTotals) -> Self:
        """Copy what live metrics show of ``totals``."""
        return cls(
            totals.statuses.copy(),
            totals.replica_statuses.copy(),
            totals.sums.copy(),
            {name: counts.copy() for name, counts in totals.histograms.items()},
            totals.token_bounds,
        )


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """A run at one moment.  ``replicas`` is in the order of the replicas' numbers."""

    simulated_s: float
    wall_s: float
    speedup_ratio: float
    """Simulated seconds per wall second, lately."""
    arrived: int
    replicas: Sequence[ReplicaLive]
    requests: RequestsLive
    completed_ratio: float | None = None
    """Share of the run that is done, if its length is known."""
    joined_pools: Sequence[int] = ()
    """Pools of the replicas that have joined during the run, in the order of their numbers."""


class SpeedMeter:
    """Measures how many simulated seconds pass per wall second, over the last ``window_s`` wall seconds."""

    def __init__(self, window_s: float = SPEED_WINDOW_S) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, float]] = deque()

    def measure(self, wall_s: float, simulated_s: float) -> float:
        """Record both clocks and return the ratio; 0 until two readings are known."""
        readings = self._readings
        readings.append((wall_s, simulated_s))
        while len(readings) > 2 and wall_s - readings[1][0] >= self._window_s:
            readings.popleft()
        first_wall_s, first_simulated_s = readings[0]
        if wall_s <= first_wall_s:
            return 0.0
        return (simulated_s - first_simulated_s) / (wall_s - first_wall_s)


def idle_replica(stages: int = 1) -> ReplicaLive:
    """Return a replica that has done nothing yet."""
    return ReplicaLive(0, 0, 0.0, ReplicaLog(0, stages).counters())


def opening_snapshot(replicas: int, totals: RequestTotals, joined_pools: Sequence[int] = ()) -> LiveSnapshot:
    """Return the snapshot of a run that has not begun: every series exists at 0, so that rates see the first step."""
    return LiveSnapshot(0.0, 0.0, 0.0, 0, [idle_replica()] * replicas, RequestsLive.copy_of(totals), None, joined_pools)
