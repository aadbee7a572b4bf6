"""Snapshots of a run on disk, as often as wall time allows."""

import logging
import time
from pathlib import Path
from typing import Final, NamedTuple

from cluster_sim.conf_directory import library_root
from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.schema.study import Study
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.output.series_table import SeriesTable
from cluster_sim.output.snapshot_file import (
    SNAPSHOT_FILE,
    SnapshotHead,
    StoredSnapshot,
    check_head,
    files_fingerprint,
    new_head,
    read_snapshot,
    write_snapshot,
)
from cluster_sim.simulation.executor import TakeSnapshot
from cluster_sim.simulation.run_options import Origin
from cluster_sim.simulation.run_snapshot import RunSnapshot, SkippedSnapshotError
from cluster_sim.snapshot.names import SnapshotError

MOST_SHARE: Final = 1 / 40
"""Largest share of wall time that snapshots take."""
LOGGER: Final = logging.getLogger(__name__)


class SnapshotCosts(NamedTuple):
    """What the snapshots of one process have cost."""

    taken: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of this process, without what the actors of a run on Ray spend."""
    largest_bytes: int = 0


class DiskCheckpoints:
    """The ``Checkpoints`` of a run directory."""

    def __init__(
        self, study: Study, folder: Path, series: SeriesTable, origin: Origin | None = None, *, resumes: bool
    ) -> None:
        """Read the snapshot in ``folder`` if the run is resumed; it is of the run ``origin`` if there is one.

        Raises InputError if it is damaged, or of another program, study or input; without one the run begins anew.
        """
        self._study = study
        self._folder = folder
        self._series = series
        self._interval_s = study.run.snapshot_interval_s
        self._due_s = time.monotonic() + self._interval_s if self._interval_s else float("inf")
        self._head: SnapshotHead | None = None
        self.costs = SnapshotCosts()
        self.resumed: RunSnapshot | None = None
        self.series_parts: tuple[str, ...] = ()
        """Hashes of the parts of the series that belong to the snapshot."""
        if resumes:
            self._resume(origin)

    @property
    def is_active(self) -> bool:
        """Whether the study asks for snapshots, and its state can be written."""
        return self._due_s < float("inf")

    def is_due(self) -> bool:
        """Return whether the wall time for the next snapshot has come.

        Raises KeyboardInterrupt if the run was interrupted, even where a library has caught that.
        """
        INTERRUPTION.check()
        return time.monotonic() >= self._due_s

    def keep(self, take: TakeSnapshot) -> None:
        """Take a snapshot and replace the last one."""
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        try:
            taken = take()
        except SkippedSnapshotError:
            return
        except SnapshotError as error:
            LOGGER.warning("this run cannot be resumed if it breaks off: %s", error)
            self._due_s = float("inf")
            return
        head = self._known_head()._replace(
            series_parts=self._series.end_part(), simulated_ns=taken.simulated_ns, wall_s=taken.wall_s
        )
        size = write_snapshot(self._folder, StoredSnapshot(head, taken.router, taken.groups, taken.members))
        cost_s = time.monotonic() - started_s
        before = self.costs
        self.costs = SnapshotCosts(
            before.taken + 1,
            before.wall_s + cost_s,
            before.cpu_s + time.process_time() - started_cpu_s,
            max(before.largest_bytes, size),
        )
        LOGGER.info("snapshot at %.3f s simulated: %d bytes in %.3f s", taken.simulated_ns / 1e9, size, cost_s)
        self._due_s = time.monotonic() + max(self._interval_s, cost_s / MOST_SHARE)

    def _resume(self, origin: Origin | None) -> None:
        stored = read_snapshot(self._folder)
        if stored is None:
            LOGGER.warning("%s has no snapshot yet: the run begins anew", self._folder)
            return
        expected = self._known_head() if origin is None else _head_of(origin.study)
        check_head(self._folder / SNAPSHOT_FILE, stored.head, expected)
        self._head = stored.head._replace(
            config_hash=self._known_head().config_hash,
            inputs=self._known_head().inputs,
            outputs=self._known_head().outputs,
            resumes=stored.head.resumes + 1,
        )
        self.series_parts = stored.head.series_parts
        self.resumed = RunSnapshot(
            stored.router,
            stored.groups,
            stored.members,
            stored.head.simulated_ns,
            stored.head.wall_s,
            -1 if origin is None else origin.at_ns,
        )

    def _known_head(self) -> SnapshotHead:
        if self._head is None:
            self._head = _head_of(self._study)
        return self._head


def _head_of(study: Study) -> SnapshotHead:
    run = study.run
    outputs = f"run.event_trace: {str(run.event_trace).lower()} and run.series_interval_s: {run.series_interval_s:g}"
    return new_head(config_hash(study), files_fingerprint([library_root()]), outputs)
