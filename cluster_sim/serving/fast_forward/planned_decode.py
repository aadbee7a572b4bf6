"""Interface of planned decodes: batches whose members do not change, committed as far as simulated time has come."""

from abc import ABC, abstractmethod

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class PlannedDecode(ABC):
    """Decode-only batches 0 .. ``steps`` - 1."""

    # A base class, since a compiled caller reaches what implements a protocol only as Python code does.
    __slots__ = ("is_finishing", "offset", "steps")

    steps: int
    """How many batches are planned."""

    offset: int
    """How many of them are committed."""

    is_finishing: bool
    """Whether the last batch yields some member's last token."""

    @property
    @abstractmethod
    def last_end_ns(self) -> int:
        """When the last batch ends."""

    @abstractmethod
    def steps_scheduled_by(self, time_ns: int) -> int:
        """Return how many batches are scheduled at or before ``time_ns``."""

    @abstractmethod
    def scheduled_ns(self, step: int) -> int:
        """Return when batch ``step`` is scheduled; ``steps`` for the first one beyond the plan."""

    @abstractmethod
    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks those batches take that are not committed yet and scheduled before ``time_ns``."""

    @abstractmethod
    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` batches are scheduled, one of them at least."""

    @abstractmethod
    def commit(self, upto: int, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the batches from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
