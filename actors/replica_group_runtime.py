"""The replicas' side of a serving study on the actors.

Kept apart from the router's side because every actor pays for what it imports: no tables, no live metrics here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cluster_sim.engine.group import Group
from cluster_sim.engine.instant import Instant, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.hardware.predictors.coverage import Coverage
from cluster_sim.recording.replica_log import ReplicaCounters
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.simulation.composition import build_replica, wirings
from cluster_sim.simulation.plan import Plan


@dataclass(frozen=True, slots=True)
class StudyData:
    """What every actor of a study gets, once per node: tables are read there without being copied."""

    plan: Plan
    predictors: list[Predictor]
    """By pool."""
    observation: Observation
    """Of the hub, which decides what the replicas report."""
    requests_path: Path | None
    labels: dict[str, str]
    """Describe the run in live metrics."""
    metrics_port: int | None = None
    speedup: float | None = None
    total_requests: int | None = None


class GroupResult(NamedTuple):
    """What one group of replicas leaves."""

    replicas: list[tuple[int, ReplicaCounters, QuantileSketch, Coverage]]
    """(index, counters, token gaps, coverage of the step predictions)"""


class ServingGroupRuntime:
    """A group of replicas; a ``ReplicaGroupRuntime``."""

    def __init__(self, data: StudyData, indices: Sequence[int], is_staged: bool) -> None:
        self._replicas = [
            build_replica(
                data.plan,
                index,
                data.predictors,
                data.observation,
                is_streamed=is_staged and data.plan.pools[data.plan.pool_index(index)].pool.pipeline_parallel > 1,
            )
            for index in indices
        ]
        self._streamed = [each for each in self._replicas if is_staged and each.pipeline.stages > 1]
        every = wirings(data.plan)
        wiring = {replica.source: every[replica.source] for replica in self._replicas}
        self.group = Group(self._replicas, wiring, data.observation)

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        """Return the new batches of every replica whose stages are actors."""
        taken = [(replica.source, replica.pipeline.take_stream()) for replica in self._streamed]
        return [(source, flat) for source, flat in taken if flat]

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        """Return (index, new rows of the time series) by replica."""
        return [(replica.settings.index, replica.log.take_series()) for replica in self._replicas]

    def results(self, end: Instant) -> GroupResult:
        """Return every replica's counters, token gaps and coverage."""
        end_ns = time_of(end)
        return GroupResult(
            [
                (replica.settings.index, replica.log.counters(end_ns), replica.log.gaps(), replica.pipeline.coverage)
                for replica in self._replicas
            ]
        )
