"""Interface of planned decodes: batches whose members do not change, committed as far as simulated time has come."""

from typing import Protocol

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class PlannedDecode(Protocol):
    """Decode-only batches 0 .. ``steps`` - 1."""

    @property
    def steps(self) -> int:
        """How many batches are planned."""

    @property
    def offset(self) -> int:
        """How many of them are committed."""

    @property
    def is_finishing(self) -> bool:
        """Whether the last batch yields some member's last token."""

    @property
    def last_end_ns(self) -> int:
        """When the last batch ends."""

    def steps_scheduled_by(self, time_ns: int) -> int:
        """Return how many batches are scheduled at or before ``time_ns``."""

    def scheduled_ns(self, step: int) -> int:
        """Return when batch ``step`` is scheduled; ``steps`` for the first one beyond the plan."""

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks those batches take that are not committed yet and scheduled before ``time_ns``."""

    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` batches are scheduled, one of them at least."""

    def commit(self, upto: int, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the batches from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
