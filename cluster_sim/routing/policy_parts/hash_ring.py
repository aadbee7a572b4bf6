"""Consistent hashing: a ring of virtual nodes, so that a candidate that joins or leaves moves few keys.

Source: D. Karger et al., "Consistent Hashing and Random Trees", STOC 1997; several points a server as in ketama.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from hashlib import blake2b


class HashRing:
    """Positions on a ring of 64-bit hashes, each at several points."""

    def __init__(self, virtual_nodes: int) -> None:
        """``virtual_nodes`` is the number of points that each position gets."""
        self._virtual_nodes = virtual_nodes
        self._points: list[tuple[int, int]] = []
        """(hash, position), ascending."""

    def add(self, position: int, name: str) -> None:
        """Put a candidate on the ring; its ``name`` decides where."""
        for number in range(self._virtual_nodes):
            insort(self._points, (hash_of(f"{name}#{number}"), position))

    def walk(self, key: str) -> Iterator[int]:
        """Yield every position once, in the order in which the ring passes them from the key on."""
        points = self._points
        first = bisect_left(points, (hash_of(key), -1))
        passed: set[int] = set()
        for index in range(first, first + len(points)):
            position = points[index % len(points)][1]
            if position not in passed:
                passed.add(position)
                yield position


def hash_of(text: str) -> int:
    """Return the 64-bit hash of a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
