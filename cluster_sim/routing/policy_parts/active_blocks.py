"""Blocks of the prompts in flight at each candidate, those that several requests share counted once."""

from collections.abc import Sequence

from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange


class ActiveBlocks:
    """The distinct blocks that a router's requests hold at each position."""

    def __init__(self, size: int) -> None:
        self.blocks = [0] * size
        """By position."""
        self._ends: list[dict[int, list[int]]] = [{} for _ in range(size)]
        """By position and name: where the ranges of that name end, one for each request."""
        self._open: dict[tuple[int, int], Sequence[BlockRange]] = {}
        """By (request id, position)."""

    def grow(self, size: int) -> None:
        """Add positions without blocks until there are ``size``."""
        while len(self.blocks) < size:
            self.blocks.append(0)
            self._ends.append({})

    def more(self, position: int, ranges: Sequence[BlockRange]) -> int:
        """Return how many blocks a prompt would add to a position."""
        ends = self._ends[position]
        return sum([max(0, end - max(ends.get(name, ()), default=start)) for name, start, end in ranges])

    def add(self, position: int, request_id: int, ranges: Sequence[BlockRange]) -> None:
        """Count a request's blocks; it has none there yet."""
        assert (request_id, position) not in self._open
        self.blocks[position] += self.more(position, ranges)
        self._open[request_id, position] = ranges
        for name, _, end in ranges:
            self._ends[position].setdefault(name, []).append(end)

    def remove(self, position: int, request_id: int) -> None:
        """Count a request's blocks no longer."""
        ends = self._ends[position]
        ranges = self._open.pop((request_id, position))
        for name, _, end in ranges:
            ends[name].remove(end)
            if not ends[name]:
                del ends[name]
        self.blocks[position] -= self.more(position, ranges)
