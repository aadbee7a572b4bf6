"""Paged KV memory by count for models with attention windows: KV cache groups that share one pool of blocks."""

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.kv_cache.blocks import CountedBlocks
from cluster_sim.serving.sequence import Sequence


class GroupedBlocks(CountedBlocks):
    """A pool of interchangeable blocks for several groups.

    Every group holds a block for each ``block_size`` computed tokens, but a windowed one has given back the
    ``skipped_blocks`` that lie out of the window.  They were counted when the sequence was last scheduled, before that
    step's tokens, so the number is kept.  ``budget_tokens`` is the most tokens of one step.
    """

    slides = True

    def __init__(self, total_blocks: int, block_size: int, groups: KvGroups, budget_tokens: int) -> None:
        super().__init__(total_blocks, block_size)
        self.groups = groups
        self._window_blocks = groups.window_blocks(budget_tokens, block_size)

    def slide(self, sequence: Sequence) -> None:
        """Give back what the sequence's next token cannot see; done before it is given anything."""
        skipped = self.groups.skipped_tokens(sequence.computed) // self.block_size
        if skipped > sequence.skipped_blocks:
            self.free += self.groups.windowed * (skipped - sequence.skipped_blocks)
            sequence.skipped_blocks = skipped

    def missing(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks the sequence would take to hold ``tokens`` tokens in all."""
        return self.groups.count * super().missing(sequence, tokens)

    def blocks_to_admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Return how many free blocks an admission takes that holds ``tokens`` tokens in all."""
        return self.groups.count * self.blocks_for(tokens)

    def blocks_to_reserve(self, sequence: Sequence, tokens: int) -> int:
        """Return the same for ``tokens`` tokens in several steps: a windowed group never holds more than the window and
        a step.
        """
        blocks = self.blocks_for(tokens)
        return self.groups.full * blocks + self.groups.windowed * min(blocks, self._window_blocks)

    def admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Give a sequence that holds nothing its first blocks."""
        sequence.skipped_blocks = 0
        self.free -= self.groups.count * self.blocks_for(tokens)
        assert self.free >= 0
        return 0

    def release(self, sequence: Sequence) -> None:
        """Take everything back that the sequence still holds."""
        held = self.groups.count * self.blocks_for(sequence.computed)
        self.free += held - self.groups.windowed * sequence.skipped_blocks
        assert self.free <= self.total
