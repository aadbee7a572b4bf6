"""Indexed minimum heap: the least of many counts, the lowest index winning ties, in O(log n) per change."""

import heapq
from collections.abc import Sequence


class IndexedMinHeap:
    """Values by index; a heap whose stale entries are dropped when they surface."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = list(values)
        self._heap = [(value, index) for index, value in enumerate(self.values)]
        heapq.heapify(self._heap)
        self._most_entries = 8 * len(self.values) + 64

    def set(self, index: int, value: float) -> None:
        """Set one value."""
        if value != self.values[index]:
            self.values[index] = value
            if len(self._heap) >= self._most_entries:
                # Stale entries above the least value never surface by themselves.
                self._heap = [(each, at) for at, each in enumerate(self.values)]
                heapq.heapify(self._heap)
            else:
                heapq.heappush(self._heap, (value, index))

    def least(self) -> int:
        """Return the index of the least value, the lowest among equals."""
        heap, values = self._heap, self.values
        while heap[0][0] != values[heap[0][1]]:
            heapq.heappop(heap)
        return heap[0][1]
