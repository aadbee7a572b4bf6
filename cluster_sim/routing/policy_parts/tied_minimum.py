"""Least of many counts: equals are told apart by a draw, or by their index.

Real routers break ties at random (llm-d's picker shuffles, Envoy draws); always taking the first would send all of a
light load to one replica and make its prefix cache look better than it is.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Final

from cluster_sim.engine.draws import draw_below, stream_key

_SPARE: Final = 64
"""Counts that no index has are dropped when there are this many more than indices."""


class TiedMinimum:
    """Counts by index, and for each count the indices that have it, in order.

    The answer depends on the counts alone, never on the way to them: executors may deliver the samples of one instant
    in different orders.  Counts in use are kept in a heap; those that no index has any more are dropped when they
    surface.
    """

    def __init__(self, size: int, seed: int, *, takes_first: bool) -> None:
        """Start with ``size`` counts of 0; ``takes_first`` prefers the lowest index among equals to a draw."""
        self.counts = [0] * size
        self._takes_first = takes_first
        self._key = stream_key(seed, "router", "ties")
        self._tied: dict[int, list[int]] = {0: list(range(size))}
        """Indices by count, ascending."""
        self._heap = [0]

    def set(self, index: int, count: int) -> None:
        """Set one count."""
        before = self.counts[index]
        if count == before:
            return
        members = self._tied[before]
        del members[bisect_left(members, index)]
        tied = self._tied.get(count)
        if tied is None:
            tied = self._tied[count] = []
            heapq.heappush(self._heap, count)
        insort(tied, index)
        self.counts[index] = count
        if len(self._heap) > 2 * len(self.counts) + _SPARE:
            self._compact()

    def _compact(self) -> None:
        """Drop the counts that no index has; those above the least would never surface."""
        self._tied = {count: members for count, members in self._tied.items() if members}
        self._heap = sorted(self._tied)

    def grow(self, size: int) -> None:
        """Add counts of 0 until there are ``size``."""
        for index in range(len(self.counts), size):
            self.counts.append(0)
            if 0 not in self._tied:
                self._tied[0] = []
                heapq.heappush(self._heap, 0)
            self._tied[0].append(index)

    def least(self, request_id: int, eligible: Sequence[int] | None = None) -> int:
        """Return an index of the least count, among ``eligible`` ones if given: of several the one that is drawn for
        the request, or the first.
        """
        if eligible is not None:
            return self._least_of(eligible, request_id)
        heap, tied = self._heap, self._tied
        while not (members := tied[heap[0]]):
            del tied[heapq.heappop(heap)]
        return self._one_of(members, request_id)

    def _least_of(self, eligible: Sequence[int], request_id: int) -> int:
        counts = self.counts
        least = min(counts[index] for index in eligible)
        return self._one_of([index for index in eligible if counts[index] == least], request_id)

    def _one_of(self, members: Sequence[int], request_id: int) -> int:
        if self._takes_first or len(members) == 1:
            return members[0]
        return members[draw_below(self._key, request_id, len(members))]
