"""KV cache by count: how many blocks each sequence holds, not which ones.

Without sharing, identity does not matter.  A sequence always holds ceil(computed / block size) blocks, where
``computed`` moves when a batch is scheduled; so nothing is stored per sequence, and freeing one needs no list.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import NO_MATCH, AllocationResult, MatchResult
from cluster_sim.serving.sequence import Sequence

_NOTHING_CACHED = AllocationResult(0)


class CountedCache:
    """A ``BlockCache`` of interchangeable blocks."""

    has_windows = False
    can_fast_forward = True

    def __init__(self, total_blocks: int, block_size: int) -> None:
        assert total_blocks > 0
        assert block_size > 0
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.free_blocks = total_blocks

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold."""
        return self.total_blocks - self.free_blocks

    def validate(self) -> None:
        """Assert that free blocks are some of all."""
        assert 0 <= self.free_blocks <= self.total_blocks

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find nothing: there is no prefix cache."""
        return NO_MATCH

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return False."""
        return False

    def catch_up(self) -> None:
        """Do nothing: blocks are counted at once."""

    def blocks_to_allocate(self, match: MatchResult, tokens: int, whole_tokens: int) -> int:
        """Return how many free blocks an admission takes."""
        return -(-whole_tokens // self.block_size)

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its first blocks."""
        self.free_blocks -= -(-tokens // self.block_size)
        assert self.free_blocks >= 0
        return _NOTHING_CACHED

    def reserve(self, sequence: Sequence, match: MatchResult, tokens: int) -> None:
        """Give a sequence its blocks ahead."""
        self.allocate(sequence, match, tokens)

    def fill(self, sequence: Sequence, tokens: int) -> None:
        """Do nothing: content is not known."""

    def cancel_reservation(self, sequence: Sequence, tokens: int) -> None:
        """Take the blocks back."""
        self.free_blocks += -(-tokens // self.block_size)
        assert self.free_blocks <= self.total_blocks

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks a sequence takes to hold ``tokens`` tokens in all."""
        size = self.block_size
        return -(-tokens // size) + -sequence.computed // size

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Give a sequence what it misses to hold ``tokens`` tokens."""
        self.free_blocks -= self.blocks_to_extend(sequence, tokens)
        assert self.free_blocks >= 0

    def free_skipped(self, sequence: Sequence) -> None:
        """Do nothing: a token sees all that came before it."""

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take."""
        self.free_blocks -= pool.blocks_for(steps)
        assert self.free_blocks >= 0

    def free(self, sequence: Sequence) -> None:
        """Take everything back that a sequence holds, by its ``computed``."""
        self.free_blocks += -(-sequence.computed // self.block_size)
        assert self.free_blocks <= self.total_blocks
