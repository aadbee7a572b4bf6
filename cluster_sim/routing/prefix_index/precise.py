"""Precise prefix index: the blocks that each replica really holds, as its KV events have told.

A replica tells where the blocks of a name end whenever that has changed since its last sample.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.prefix_index.coverage import PrefixCoverage
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange


class PrecisePrefixIndex:
    """The prefixes that each replica, by its position, holds."""

    def __init__(self, count: int) -> None:
        self._ends: list[dict[int, int]] = [{} for _ in range(count)]
        """By position and name where the blocks end."""
        self._coverage = PrefixCoverage()

    def on_join(self) -> None:
        """Add a replica that holds nothing, at the next position."""
        self._ends.append({})

    def forget(self, position: int) -> None:
        """Forget everything that a replica held."""
        for name, end in self._ends[position].items():
            self._coverage.move(position, name, end, -1)
        self._ends[position] = {}

    def update(self, position: int, changes: Iterable[tuple[int, int]]) -> None:
        """Take changes of what a replica holds: (name, index behind its last block; -1 if none is left)."""
        ends = self._ends[position]
        for name, after in changes:
            before = ends.get(name, -1)
            if after == before:
                continue
            self._coverage.move(position, name, before, after)
            if after < 0:
                del ends[name]
            else:
                ends[name] = after

    def matched_blocks(self, ranges: Sequence[BlockRange]) -> NDArray[np.int64]:
        """Return how many consecutive blocks of a prompt each replica holds: one number a position."""
        return self._coverage.matched_blocks(ranges, len(self._ends))
