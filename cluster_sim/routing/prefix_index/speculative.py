"""Speculative prefix entries: what a router's own choices will put into caches, until events tell or time is up."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.prefix_index.coverage import PrefixCoverage
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange


class SpeculativePrefixes:
    """Prompts that were sent to replicas, by position, whose blocks no event has shown yet."""

    def __init__(self, count: int, lifetime_ns: int) -> None:
        """An entry counts for ``lifetime_ns`` after it was recorded last."""
        self._lifetime_ns = lifetime_ns
        self._entries: list[dict[int, tuple[int, int]]] = [{} for _ in range(count)]
        """By position and name: where the blocks end, and until when they count."""
        self._expiries: deque[tuple[int, int, int]] = deque()
        """(time, position, name) in order."""
        self._coverage = PrefixCoverage()

    def on_join(self) -> None:
        """Add a replica, at the next position."""
        self._entries.append({})

    def forget(self, position: int) -> None:
        """Forget everything about a replica."""
        for name in list(self._entries[position]):
            self._drop(position, name)

    def record(self, position: int, ranges: Sequence[BlockRange], now_ns: int) -> None:
        """Note that a replica was sent a prompt."""
        entries, until_ns = self._entries[position], now_ns + self._lifetime_ns
        for name, _, end in ranges:
            before, _ = entries.get(name, (-1, 0))
            if end > before:
                self._coverage.move(position, name, before, end)
            entries[name] = (max(before, end), until_ns)
            self._expiries.append((until_ns, position, name))

    def confirm(self, position: int, name: int, end: int) -> None:
        """Note that events show a replica's blocks of a name up to ``end``."""
        entry = self._entries[position].get(name)
        if entry is not None and end >= entry[0]:
            self._drop(position, name)

    def matched_blocks(self, ranges: Sequence[BlockRange], now_ns: int) -> NDArray[np.int64]:
        """Return how many consecutive blocks of a prompt each replica was sent lately: one number a position."""
        while self._expiries and self._expiries[0][0] <= now_ns:
            until_ns, position, name = self._expiries.popleft()
            entry = self._entries[position].get(name)
            if entry is not None and entry[1] == until_ns:
                self._drop(position, name)
        return self._coverage.matched_blocks(ranges, len(self._entries))

    def _drop(self, position: int, name: int) -> None:
        end, _ = self._entries[position].pop(name)
        self._coverage.move(position, name, end, -1)
