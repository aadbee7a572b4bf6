"""Paged KV memory by count: which sequence holds how many blocks, not which ones.

Without sharing, identity does not matter.  A sequence always holds ceil(computed / block size) blocks, where
``computed`` moves when a batch is formed; so nothing is stored per sequence, and a release needs no list.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence


class CountedBlocks:
    """A pool of interchangeable blocks."""

    slides = False
    """Whether sequences give blocks back while they run, so that ``slide`` must be called."""
    can_plan_decodes = True
    """Whether what a decode pool will take and give back is known ahead."""

    def __init__(self, total_blocks: int, block_size: int) -> None:
        assert total_blocks > 0
        assert block_size > 0
        self.total = total_blocks
        self.block_size = block_size
        self.free = total_blocks

    @property
    def used(self) -> int:
        """Blocks held by sequences."""
        return self.total - self.free

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold ``tokens`` tokens."""
        return -(-tokens // self.block_size)

    def find_prefix(self, sequence: Sequence) -> int:
        """Return how many of the sequence's tokens are in the cache already: none without a prefix cache."""
        return 0

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether what ``find_prefix`` returns may grow while only decodes run."""
        return False

    def catch_up(self) -> None:
        """Do now what was put off while decodes moved in bulk."""

    def missing(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks the sequence would take to hold ``tokens`` tokens in all."""
        return self.blocks_for(tokens) - self.blocks_for(sequence.computed)

    def blocks_to_admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Return how many free blocks an admission takes that holds ``tokens`` tokens in all."""
        return self.blocks_for(tokens)

    def blocks_to_reserve(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks an admission takes that reaches ``tokens`` tokens in several steps; asked where
        sequences give blocks back between them.
        """
        return self.blocks_to_admit(sequence, 0, tokens)

    def admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Give a sequence that holds nothing its first blocks: for ``tokens`` tokens, of which ``prefix_tokens`` were
        found by ``find_prefix``; return how long the step must wait for their content, ns.
        """
        self.free -= self.blocks_for(tokens)
        assert self.free >= 0
        return 0

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Give the sequence what it misses to hold ``tokens`` tokens; ``computed`` has not moved yet."""
        self.free -= self.missing(sequence, tokens)
        assert self.free >= 0

    def slide(self, sequence: Sequence) -> None:
        """Give back what the sequence's next token cannot see; done before it is given anything."""

    def decode(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take; the pool has not made them yet."""
        self.free -= pool.blocks_for(steps)
        assert self.free >= 0

    def release(self, sequence: Sequence) -> None:
        """Take everything back that the sequence holds, by its ``computed``."""
        self.free += self.blocks_for(sequence.computed)
        assert self.free <= self.total
