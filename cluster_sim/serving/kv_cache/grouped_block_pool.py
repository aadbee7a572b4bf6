"""Block pool of vLLM's prefix cache over KV cache groups, block by block.

The rules are those of ``BlockPool``, for every group: blocks have a hash once full, free blocks keep it until they are
reused, least recently freed first.  A windowed group also frees the blocks that leave the window, so its cached blocks
are no prefix and nothing can be kept in runs: this pool names every block.  All groups share one queue of free blocks.

A prefix counts as found if every group has what the next token sees of it: all blocks in a full group, those of the
window in a windowed one.  So the full groups are searched from the left, and the windowed ones from there to the left,
for the last place behind enough blocks in a row.
"""

from collections import OrderedDict
from typing import Final

from cluster_sim.hardware.kv_groups import KvGroups

NULL: Final = -1
"""Stands for a block that was given back, or was never needed."""


class GroupMatch:
    """The longest prefix found, valid until the cache changes."""

    __slots__ = ("blocks", "found")

    def __init__(self, blocks: int, found: list[list[int]]) -> None:
        self.blocks = blocks
        """Length of the prefix in blocks."""
        self.found = found
        """By group the blocks of the prefix, NULL where they lie out of the window."""


class GroupedBlockPool:
    """A pool of ``total_blocks`` blocks for sequences that are named by an integer."""

    def __init__(self, total_blocks: int, block_size: int, groups: KvGroups) -> None:
        self.total_blocks = total_blocks
        self.shared_blocks = 0
        """Blocks of windowed groups that several sequences hold."""
        windowed, full = [True] * groups.windowed, [False] * groups.full
        self._is_windowed = windowed + full if groups.is_windowed_first else full + windowed
        self._numbers = range(groups.count)
        self._full = [number for number in self._numbers if not self._is_windowed[number]]
        self._windowed = [number for number in self._numbers if self._is_windowed[number]]
        self._is_chunked = groups.is_chunked
        self._chunk_blocks = groups.window_tokens // block_size
        self._seen_blocks = -(-(groups.window_tokens - 1) // block_size)
        """Blocks before a block's first token that it sees, in whole or in part, through a sliding window."""
        self._unused = total_blocks
        """Blocks in front of the queue that nothing was ever written to."""
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._holders: list[int] = []
        """By block how many sequences hold it; blocks have numbers once they are used."""
        self._key_of: list[int] = []
        self._group_of: list[int] = []
        self._cached: list[dict[int, int | list[int]]] = [{} for _ in self._numbers]
        """By group and key the block with that content, or the blocks in order of insertion."""
        self._held: dict[int, list[list[int]]] = {}
        self._hashed: dict[int, int] = {}

    @property
    def free_blocks(self) -> int:
        """Blocks that can be taken, cached content included."""
        return self._unused + len(self._queue)

    def match(self, keys: list[int], limit: int) -> GroupMatch:
        """Return the longest cached prefix of at most ``limit`` blocks, whose keys are the first of ``keys``."""
        hit = limit
        if self._full:
            hit = 0
            while hit < limit and self._has(self._full, keys[hit]):
                hit += 1
        start = 0
        if self._windowed:
            start, hit = self._match_chunk(keys, hit) if self._is_chunked else self._match_window(keys, hit)
        found: list[list[int]] = []
        for number in self._numbers:
            first = start if self._is_windowed[number] else 0
            cached = self._cached[number]
            found.append([NULL] * first + [_first(cached[key]) for key in keys[first:hit]])
        return GroupMatch(hit, found)

    def _has(self, groups: list[int], key: int) -> bool:
        return all(key in self._cached[number] for number in groups)

    def _match_window(self, keys: list[int], limit: int) -> tuple[int, int]:
        """Return first and end of the last blocks in a row that fill a sliding window; those at the very beginning of
        the sequence need not fill it.
        """
        row = 0
        for index in range(limit - 1, -1, -1):
            if not self._has(self._windowed, keys[index]):
                row = 0
                continue
            row += 1
            if row >= self._seen_blocks:
                return index + row - self._seen_blocks, index + row
        return 0, row

    def _match_chunk(self, keys: list[int], limit: int) -> tuple[int, int]:
        """Return first and end of the cached blocks of the chunk in which ``limit`` lies: earlier ones are not seen."""
        start = end = limit // self._chunk_blocks * self._chunk_blocks
        while end < limit and self._has(self._windowed, keys[end]):
            end += 1
        return start, end

    def free_of(self, match: GroupMatch) -> int:
        """Return how many blocks of a match nobody holds, so that taking them lowers what is free."""
        if not match.blocks:
            return 0
        holders = self._holders
        return sum(block != NULL and not holders[block] for blocks in match.found for block in blocks)

    def admit(self, name: int, match: GroupMatch) -> None:
        """Let a sequence hold the blocks of a match."""
        for number in self._numbers:
            for block in match.found[number]:
                if block == NULL:
                    continue
                holders = self._holders[block] = self._holders[block] + 1
                if holders == 1:
                    del self._queue[block]
                elif holders == 2 and self._is_windowed[number]:
                    self.shared_blocks += 1
        self._held[name] = match.found
        self._hashed[name] = match.blocks

    def take(self, name: int, blocks: int) -> None:
        """Give a sequence ``blocks`` more blocks in every group: the free ones that are reused next lose their hash."""
        for number, held in zip(self._numbers, self._held[name], strict=True):
            unused = min(blocks, self._unused)
            if unused:
                self._unused -= unused
                first = len(self._holders)
                self._holders.extend([1] * unused)
                self._key_of.extend([NULL] * unused)
                self._group_of.extend([number] * unused)
                held.extend(range(first, first + unused))
            for _ in range(blocks - unused):
                block, _ = self._queue.popitem(last=False)
                if self._key_of[block] != NULL:
                    self._forget(block)
                self._group_of[block] = number
                self._holders[block] = 1
                held.append(block)

    def _forget(self, block: int) -> None:
        """Take the hash from a block."""
        key = self._key_of[block]
        cached = self._cached[self._group_of[block]]
        copies = cached[key]
        if isinstance(copies, int):
            del cached[key]
        else:
            copies.remove(block)
            if len(copies) == 1:
                cached[key] = copies[0]
        self._key_of[block] = NULL

    def commit(self, name: int, keys: list[int], blocks: int) -> None:
        """Give hashes to the first ``blocks`` blocks of a sequence, which are full."""
        hashed = self._hashed[name]
        if blocks <= hashed:
            return
        self._hashed[name] = blocks
        key_of, new_keys = self._key_of, keys[hashed:blocks]
        for cached, held in zip(self._cached, self._held[name], strict=True):
            for key, block in zip(new_keys, held[hashed:blocks], strict=True):
                key_of[block] = key
                copies = cached.get(key)
                if copies is None:
                    cached[key] = block
                elif isinstance(copies, int):
                    cached[key] = [copies, block]
                else:
                    copies.append(block)

    def slide(self, name: int, first: int, end: int) -> None:
        """Take the blocks ``first <= index < end`` of every windowed group back from a sequence, the last first."""
        held = self._held[name]
        for number in self._windowed:
            blocks = held[number]
            self._free(blocks[first:end], is_windowed=True)
            blocks[first:end] = [NULL] * (end - first)

    def release(self, name: int) -> None:
        """Take everything back from a sequence: group by group, the last block first."""
        for number, blocks in zip(self._numbers, self._held.pop(name), strict=True):
            self._free(blocks, is_windowed=self._is_windowed[number])
        del self._hashed[name]

    def _free(self, blocks: list[int], *, is_windowed: bool) -> None:
        """Take blocks from one that holds them, the last first; what lies before a given-back one was given back."""
        holders, queue = self._holders, self._queue
        for block in reversed(blocks):
            if block == NULL:
                break
            left = holders[block] = holders[block] - 1
            if not left:
                queue[block] = None
            elif left == 1 and is_windowed:
                self.shared_blocks -= 1

    def validate(self) -> None:
        """Assert what must hold between calls: every block is free or as often held as it counts, found blocks have
        their keys, and blocks shared by windowed groups are counted.
        """
        counts = [0] * len(self._holders)
        for groups in self._held.values():
            for blocks in groups:
                for block in blocks:
                    if block != NULL:
                        counts[block] += 1
        assert counts == self._holders
        assert {block for block, holders in enumerate(counts) if not holders} == set(self._queue)
        assert self._unused + len(counts) == self.total_blocks
        shared = (block for block, holders in enumerate(counts) if holders > 1)
        assert sum(self._is_windowed[self._group_of[block]] for block in shared) == self.shared_blocks
        named = 0
        for number, cached in enumerate(self._cached):
            for key, copies in cached.items():
                for block in [copies] if isinstance(copies, int) else copies:
                    assert self._key_of[block] == key
                    assert self._group_of[block] == number
                    named += 1
        assert named == sum(key != NULL for key in self._key_of)


def _first(copies: int | list[int]) -> int:
    """Return the block that a lookup finds: the one inserted first."""
    return copies if isinstance(copies, int) else copies[0]
