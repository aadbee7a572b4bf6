"""Interface of the executors: the outputs and the outcome of a run, and the one method between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cluster_sim.hardware.predictors.coverage import Coverage
from cluster_sim.metrics.live_feed import LiveSource
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.run_recorder import HubResult
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.run_work import RunWork
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.simulation.view import ProgressSink, drop_progress

SeriesSink = Callable[[int, dict[str, Any]], None]
"""Takes the parts of ``ReplicaLog.take_all_series``."""


def drop_series(replica: int, columns: dict[str, Any]) -> None:
    """Drop the rows of a series."""
    del replica, columns


def of_replicas(sink: SeriesSink) -> SeriesSink:
    """Return a sink that leaves out the series of ranks."""

    def add(key: int, columns: dict[str, Any]) -> None:
        if key >= 0:
            sink(key, columns)

    return add


TakeSnapshot = Callable[[], RunSnapshot]
"""Takes a snapshot; raises SnapshotError if some state cannot be written."""


class Checkpoints(Protocol):
    """What keeps the snapshots of a run, and has the one that it is resumed from."""

    resumed: RunSnapshot | None
    """The state to begin with; None begins the run."""

    @property
    def is_active(self) -> bool:
        """Whether snapshots are taken at all."""

    def is_due(self) -> bool:
        """Return whether a snapshot should be taken now; called often."""

    def keep(self, take: TakeSnapshot) -> None:
        """Take and keep a snapshot; everything delivered so far belongs to what lies before it."""


class NoCheckpoints:
    """Begins every run, and keeps nothing."""

    resumed: RunSnapshot | None = None
    is_active = False

    def is_due(self) -> bool:
        """Never take a snapshot."""
        return False

    def keep(self, take: TakeSnapshot) -> None:
        """Keep nothing."""
        del take


@dataclass(frozen=True, slots=True)
class RunOutputs:
    """Where a run writes and reports while it goes on; none of it changes a result."""

    requests_path: Path | None = None
    """The table of requests to write."""
    series: SeriesSink = drop_series
    progress: ProgressSink = drop_progress
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    live: LiveSource | None = None
    """Takes the snapshots of live metrics, if they are wanted."""


class ReplicaResult(NamedTuple):
    """The result of one replica."""

    counters: ReplicaCounters
    gaps: QuantileSketch
    coverage: Coverage
    ranks: tuple[ReplicaCounters, ...] = ()
    """Counters of its data-parallel ranks, if there are several."""


class RunOutcome(NamedTuple):
    """The results of a run: the hub's, and the replicas' in the order of their numbers."""

    hub: HubResult
    replicas: list[ReplicaResult]
    wall_s: float
    """Of the simulation itself, without the start of Ray and its actors."""
    placement: dict[str, Any]
    """How the run was spread over actors, for the manifest; empty in one process."""
    streams: dict[int, tuple[int, Sequence[int]]] | None = None
    """(stages, stage stream) by replica if the simulation keeps them."""
    work: RunWork = RunWork()


class Executor(Protocol):
    """Runs simulations; every executor leaves the same results."""

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end.

        Raises the InputError that a process meets, and UnfinishedError if the run cannot go on.
        """
