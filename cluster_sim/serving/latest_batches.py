"""The latest batches of a pipeline, whose work may outlast the run."""

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array

LATEST_BATCHES: Final = 256
"""Batches of several stages whose times are kept beyond those in flight: work for clients who have just given up may
outlast the run."""

Rows = Sequence[list[int]] | Int64Array
"""Batches by stages."""


class LatestBatches:
    """When each stage ends its latest ``most`` batches, and its work in each, ns."""

    __slots__ = ("_blocks", "_count", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: deque[tuple[Rows, Rows]] = deque()
        """Ends and works of batches that were noted together; those of ``most`` batches at least, or of all."""
        self._count = 0

    def add(self, ends_ns: Rows, works_ns: Rows) -> None:
        """Note batches, both int64[batches, stages]."""
        blocks = self._blocks
        blocks.append((ends_ns, works_ns))
        self._count += len(ends_ns)
        while self._count - len(blocks[0][0]) >= self._most:
            self._count -= len(blocks.popleft()[0])

    def overrun_ns(self, end_ns: int, stages: int) -> list[int]:
        """Return the work of each stage beyond ``end_ns``."""
        if not self._blocks:
            return [0] * stages
        ends = np.concatenate([np.asarray(ends, np.int64) for ends, _ in self._blocks])[-self._most :]
        works = np.concatenate([np.asarray(works, np.int64) for _, works in self._blocks])[-self._most :]
        beyond: list[int] = np.maximum(ends - np.maximum(ends - works, end_ns), 0).sum(axis=0).tolist()
        return beyond
