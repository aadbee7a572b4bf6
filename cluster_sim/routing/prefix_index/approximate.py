"""Approximate prefix index: the blocks of the prompts that a router has sent to each replica, least recently used out.

Nothing tells it what replicas really keep.  It is what llm-d's prefix-cache-scorer and the Gateway API inference
extension do (``scheduling/framework/plugins/multi/prefix/indexer.go``): after a choice every block of the prompt is
recorded for the replica in order, so that of one prompt the first blocks are the oldest, and each replica keeps as many
blocks as its capacity.  Blocks recorded together are one run here; what is kept is the same as block by block.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.prefix_index.coverage import PrefixCoverage
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange


class _Run:
    """Blocks ``start <= index < end`` of a name that a replica was sent last at the same time."""

    __slots__ = ("end", "first", "name", "start")

    def __init__(self, name: int, start: int, end: int) -> None:
        self.name = name
        self.first = start
        """The first block of the name, whether or not the run still has it."""
        self.start = start
        self.end = end


class _Server:
    """What one replica was sent: runs by a serial, the one used longest ago first."""

    __slots__ = ("blocks", "capacity", "ends", "next_serial", "queue", "runs")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.blocks = 0
        self.next_serial = 0
        self.queue: dict[int, _Run] = {}
        self.runs: dict[int, list[int]] = {}
        """Serials of the disjoint runs of a name, by their first blocks."""
        self.ends: dict[int, int] = {}
        """Where the consecutive blocks of a name end, as far as the coverage knows."""


class ApproximatePrefixIndex:
    """The prompts that each replica, by its position, was sent."""

    def __init__(self, capacities: Sequence[int] = ()) -> None:
        """``capacities`` are the blocks that each replica keeps."""
        self._servers = [_Server(capacity) for capacity in capacities]
        self._coverage = PrefixCoverage()

    @property
    def size(self) -> int:
        """Replicas so far."""
        return len(self._servers)

    def on_join(self, capacity: int) -> None:
        """Add a replica, at the next position."""
        self._servers.append(_Server(capacity))

    def forget(self, position: int) -> None:
        """Forget what a replica was sent."""
        server = self._servers[position]
        for name, end in server.ends.items():
            self._coverage.move(position, name, end, -1)
        self._servers[position] = _Server(server.capacity)

    def matched_blocks(self, ranges: Sequence[BlockRange]) -> NDArray[np.int64]:
        """Return how many consecutive blocks of a prompt each replica was sent: one number a position."""
        return self._coverage.matched_blocks(ranges, len(self._servers))

    def blocks_of(self, position: int) -> int:
        """Return how many blocks are kept for a replica."""
        return self._servers[position].blocks

    def record(self, position: int, ranges: Sequence[BlockRange]) -> None:
        """Note that a replica was sent a prompt."""
        server = self._servers[position]
        touched: dict[int, None] = {}
        """The names whose runs have changed."""
        for name, start, end in ranges:
            self._touch(server, name, start, end)
            touched[name] = None
        queue = server.queue
        while server.blocks > server.capacity:
            serial = next(iter(queue))
            run = queue[serial]
            over = server.blocks - server.capacity
            touched[run.name] = None
            if run.end - run.start <= over:
                server.blocks -= run.end - run.start
                self._drop(server, serial, run.name)
            else:
                server.blocks -= over
                run.start += over
        for name in touched:
            self._refresh(position, server, name)

    @staticmethod
    def _touch(server: _Server, name: int, start: int, end: int) -> None:
        queue, serials = server.queue, server.runs.get(name, [])
        kept = []
        for serial in serials:
            run = queue[serial]
            if run.end <= end:
                server.blocks -= run.end - run.start
                del queue[serial]
            else:
                if run.start < end:
                    server.blocks -= end - run.start
                    run.start = end
                kept.append(serial)
        serial = server.next_serial
        server.next_serial += 1
        queue[serial] = _Run(name, start, end)
        server.blocks += end - start
        server.runs[name] = [serial, *kept]

    @staticmethod
    def _drop(server: _Server, serial: int, name: int) -> None:
        del server.queue[serial]
        serials = server.runs[name]
        serials.remove(serial)
        if not serials:
            del server.runs[name]

    def _refresh(self, position: int, server: _Server, name: int) -> None:
        """Tell the coverage where the consecutive blocks of a name end."""
        before = server.ends.get(name, -1)
        after = -1
        for serial in server.runs.get(name, ()):
            run = server.queue[serial]
            if run.start > (run.first if after < 0 else after):
                break
            after = run.end
        if after != before:
            self._coverage.move(position, name, before, after)
            if after < 0:
                del server.ends[name]
            else:
                server.ends[name] = after
