"""Floors of step times: lower bounds of what a job still costs, which give the lookahead of a replica."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FloorModel:
    """The floors of one replica.

    ``traversal_ns`` (F): sum of the stage floors and the stage links.  ``step_ns`` (b): the largest stage floor.
    ``is_overlapped``: consecutive batches of one job may be in the pipeline together (asynchronous scheduling, or
    chunks of one prompt following each other through the stages).
    """

    traversal_ns: int
    step_ns: int
    is_overlapped: bool

    def cost_ns(self, batches: int) -> int:
        """Return the least time from the formation of a job's first batch to the end of its last one.

        ``batches`` counts the job's prefill chunks and decode steps together, at least 1.  Charging every batch a full
        traversal is right only if the next one forms at the end of the last; otherwise each adds one step floor.
        """
        if self.is_overlapped:
            return self.traversal_ns + (batches - 1) * self.step_ns
        return batches * self.traversal_ns
