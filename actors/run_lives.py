"""Lives of a run on actors: when one is lost, all are made again from the last snapshot, wherever there is room."""

import logging
from typing import Any, Final

from actors.actor_creation import LostActorError
from actors.router_actor import RouterStatus
from actors.supervisor import RunObserver, RunStateParts, TakeParts
from cluster_sim.engine.instant import time_of
from cluster_sim.errors import UnfinishedError
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.run_snapshot import RunSnapshot, SkippedSnapshotError
from cluster_sim.units import NS_PER_S

MOST_IN_A_ROW: Final = 5
"""Losses without a snapshot between them after which the run is given up: something kills it whatever it does."""
LOGGER: Final = logging.getLogger(__name__)

Records = list[tuple[int, dict[str, Any]]]
"""(replica, new rows of its series)"""


class RunLives:
    """What outlives the actors of a run.

    Records wait here until the snapshot that they lie before, so that each is handed on once.
    """

    def __init__(self, outputs: RunOutputs) -> None:
        self._outputs = outputs
        self._checkpoints = outputs.checkpoints
        self._is_recoverable = outputs.checkpoints.is_active
        self.snapshot: RunSnapshot | None = outputs.checkpoints.resumed
        self.losses = 0
        self._in_a_row = 0
        self._shown_ns = 0
        self._held: list[Records] = []
        self._life_began_s = 0.0

    @property
    def earlier_s(self) -> float:
        """Wall time of what lies before the present life."""
        return self._life_began_s

    def observer(self) -> RunObserver:
        """Return the callbacks of a new life."""
        self._life_began_s = 0.0 if self.snapshot is None else self.snapshot.wall_s
        is_due = self._checkpoints.is_due if self._is_recoverable else (lambda: False)
        return RunObserver(self._show, self._keep, self._outputs.live, is_due, self._take)

    def begin_again(self, error: LostActorError) -> None:
        """Go back to the last snapshot, or to the beginning; raise UnfinishedError if that is in vain."""
        self.losses += 1
        self._in_a_row += 1
        if not self._is_recoverable:
            raise UnfinishedError(str(error)) from error
        if self._in_a_row > MOST_IN_A_ROW:
            raise UnfinishedError(f"{self._in_a_row} times in a row, without a snapshot since: {error}") from error
        self._held.clear()
        since = "its beginning" if self.snapshot is None else f"{self.snapshot.simulated_ns / NS_PER_S:.3f} s simulated"
        LOGGER.warning("%s; the run goes on from %s", error, since)

    def finish(self) -> None:
        """Hand on what is left."""
        for records in self._held:
            self._deliver(records)
        self._held.clear()

    def _show(self, status: RouterStatus) -> None:
        if status.progress.simulated_ns >= self._shown_ns:
            self._shown_ns = status.progress.simulated_ns
            self._outputs.progress(status.progress.simulated_ns, status.progress.requests_done)

    def _keep(self, records: Records) -> None:
        if self._is_recoverable and self._checkpoints.is_active:
            self._held.append(records)
        else:
            self.finish()
            self._deliver(records)

    def _deliver(self, records: Records) -> None:
        for replica, columns in records:
            self._outputs.series(replica, columns)

    def _take(self, take: TakeParts) -> None:
        self._checkpoints.keep(lambda: self._snapshot_of(take()))

    def _snapshot_of(self, parts: RunStateParts | None) -> RunSnapshot:
        if parts is None:
            raise SkippedSnapshotError
        self._held.extend(parts.records)
        self.finish()
        self._in_a_row = 0
        self.snapshot = RunSnapshot(
            parts.router,
            tuple(parts.groups),
            tuple(map(tuple, parts.members)),
            time_of(parts.clock),
            parts.wall_s + self._life_began_s,
        )
        return self.snapshot
