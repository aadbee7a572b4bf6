"""Steps of a replica: the batches in flight, the time of the next one, and the fast-forward that is planned."""

from collections import deque

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode


class StepState:
    """The steps that are scheduled and have not ended, and when the next may be scheduled."""

    __slots__ = ("depth", "finishing_ns", "in_flight", "is_planned", "planned", "schedule_ns")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        """How many batches may be in flight."""
        self.in_flight: deque[tuple[int, Batch | None]] = deque()
        """(end, batch) of each, in order; no batch if its end changes nothing (inside a fast-forward)."""
        self.schedule_ns = -1
        """When the next batch may be scheduled; -1 while nothing can be or no slot in flight is free."""
        self.finishing_ns = -1
        """End of the last scheduled batch that yields some last token."""
        self.planned: PlannedDecode | None = None
        """The fast-forward that starts with the next batch; None if none is planned yet, or none can be."""
        self.is_planned = False
        """Whether it is known which of the two."""

    def clear(self) -> None:
        """Forget every step."""
        self.in_flight.clear()
        self.forget_plan()
        self.schedule_ns = self.finishing_ns = -1

    def validate(self) -> None:
        """Assert that batches end in the order in which they were scheduled."""
        ends = [end for end, _ in self.in_flight]
        assert ends == sorted(ends), f"batches in flight end out of order: {ends}"

    def forget_plan(self) -> None:
        """Take in that something changes the next batch."""
        self.planned = None
        self.is_planned = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing will happen without a message."""
        return self.schedule_ns < 0 and not self.in_flight
