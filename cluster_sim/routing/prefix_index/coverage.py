"""Coverage of prefixes: how far each replica holds the blocks of a name, for thousands of replicas at once.

The replicas that hold the same number of blocks of a name are one set of bits in an integer, so a look-up costs a few
operations for each piece of a prompt, whatever the number of replicas and blocks.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange

_FEW: Final = 8
"""Up to this many bits are read one by one."""


class PrefixCoverage:
    """For each name and each replica (by its position) the index of the first block that is missing."""

    def __init__(self) -> None:
        self._holders: dict[int, dict[int, int]] = {}
        """By name and end: the positions that hold exactly the blocks before that end, as bits."""

    def __len__(self) -> int:
        return len(self._holders)

    def move(self, position: int, name: int, before: int, after: int) -> None:
        """Note that a replica's blocks of a name ended at index ``before`` and now end at ``after``; -1 is nothing."""
        bit = 1 << position
        holders = self._holders.get(name)
        if before >= 0:
            assert holders is not None
            rest = holders[before] ^ bit
            if rest:
                holders[before] = rest
            else:
                del holders[before]
        if after >= 0:
            if holders is None:
                holders = self._holders[name] = {}
            holders[after] = holders.get(after, 0) | bit
        elif not holders:
            del self._holders[name]

    def match(self, ranges: Sequence[BlockRange]) -> list[tuple[int, int]]:
        """Return how many consecutive blocks replicas hold from the first one on.

        Each item is (blocks, bits of the positions that hold exactly so many of them); positions in none hold 0.
        """
        found_blocks: list[tuple[int, int]] = []
        alive = -1
        position = 0
        for name, start, end in ranges:
            holders = self._holders.get(name)
            through = found = 0
            if holders is not None:
                for held, bits in holders.items():
                    hit = bits & alive
                    if not hit:
                        continue
                    found |= hit
                    if held >= end:
                        through |= hit
                    elif held > start:
                        found_blocks.append((held, hit))
                    else:
                        found ^= hit
            if start and (rest := alive & ~found):
                found_blocks.append((start, rest))
            alive, position = through, end
            if not alive:
                return found_blocks
        if position:
            found_blocks.append((position, alive))
        return found_blocks

    def matched_blocks(self, ranges: Sequence[BlockRange], count: int) -> NDArray[np.int64]:
        """Return the consecutive blocks that each of ``count`` replicas holds: an array of ``count`` numbers."""
        blocks = np.zeros(count, np.int64)
        for matched, bits in self.match(ranges):
            if bits.bit_count() <= _FEW:
                for position in positions_of(bits):
                    blocks[position] = matched
            else:
                blocks[mask_of(bits, count)] = matched
        return blocks


def positions_of(bits: int) -> Iterator[int]:
    """Yield the positions of the bits that are set, ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def mask_of(bits: int, count: int) -> NDArray[np.bool_]:
    """Return the lowest ``count`` bits of an integer as an array of booleans."""
    octets = np.frombuffer(bits.to_bytes(-(-count // 8), "little"), np.uint8)
    return np.unpackbits(octets, count=count, bitorder="little").view(np.bool_)
