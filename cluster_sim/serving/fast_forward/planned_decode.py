"""Interface of a planned fast-forward: a run of steps whose batches keep their members."""

from abc import ABC, abstractmethod

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class PlannedDecode(ABC):
    """Formations 0 .. ``steps`` - 1, each a batch of decodes, of which ``offset`` are committed."""

    __slots__ = ("is_finishing", "last_end_ns", "offset", "steps")

    steps: int
    offset: int
    is_finishing: bool
    """Whether the last formation yields some member's last token."""
    last_end_ns: int
    """When the last formation's batch ends."""

    @abstractmethod
    def steps_formed_by(self, time_ns: int) -> int:
        """Return how many formations are made at or before ``time_ns``."""

    @abstractmethod
    def formed_ns(self, step: int) -> int:
        """Return when formation ``step`` is made; ``steps`` for the first one beyond the run."""

    @abstractmethod
    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks the formations take that are not committed yet and made before ``time_ns``."""

    @abstractmethod
    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` formations are made, one of them at least."""

    @abstractmethod
    def commit(self, upto: int, scheduler: FastForwardScheduler, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the formations from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
