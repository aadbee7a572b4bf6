"""KV cache by count for models with attention windows or states: KV cache groups that share one pool of blocks."""

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import NO_HANDOVER, NO_MATCH, AllocationResult, MatchResult
from cluster_sim.serving.sequence import Sequence


class GroupedCache:
    """A ``BlockCache`` of interchangeable blocks for several groups.

    Every group holds a block for each ``block_size`` computed tokens, but a windowed one has given back the
    ``skipped_blocks`` that lie out of the window.  They were counted when the sequence was last scheduled, before that
    step's tokens, so the number is kept.  Beside these a sequence holds the blocks of its states.
    """

    has_windows = True
    can_fast_forward = True

    def __init__(self, total_blocks: int, block_size: int, groups: KvGroups, step_tokens: int) -> None:
        """``step_tokens`` is the most tokens of one step."""
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.free_blocks = total_blocks
        self._groups = groups
        self._window_blocks = groups.window_blocks(step_tokens, block_size)

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
        """Return how many free blocks an admission takes; in later steps a windowed group never holds more than the
        window and one step.
        """
        groups, whole = self._groups, -(-whole_tokens // self.block_size)
        later = groups.full * -(-whole // groups.full_ratio) + groups.windowed * min(whole, self._window_blocks)
        return max(self._blocks_for(tokens), later) + groups.sequence_blocks

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its first blocks."""
        sequence.skipped_blocks = 0
        self.free_blocks -= self._blocks_for(tokens) + self._groups.sequence_blocks
        assert self.free_blocks >= 0
        return AllocationResult(0)

    def reserve(self, sequence: Sequence, match: MatchResult, tokens: int) -> None:
        """Refuse: no connector moves windows or states."""
        raise NotImplementedError(NO_HANDOVER)

    def fill(self, sequence: Sequence, tokens: int) -> None:
        """Refuse, as ``reserve`` does."""
        raise NotImplementedError(NO_HANDOVER)

    def cancel_reservation(self, sequence: Sequence, tokens: int) -> None:
        """Refuse, as ``reserve`` does."""
        raise NotImplementedError(NO_HANDOVER)

    def free_skipped(self, sequence: Sequence) -> None:
        """Take back what the sequence's next token cannot see."""
        skipped = self._groups.skipped_tokens(sequence.computed) // self.block_size
        if skipped > sequence.skipped_blocks:
            self.free_blocks += self._groups.windowed * (skipped - sequence.skipped_blocks)
            sequence.skipped_blocks = skipped

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks a sequence takes to hold ``tokens`` tokens in all."""
        return self._blocks_for(tokens) - self._blocks_for(sequence.computed)

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Give a sequence what it misses to hold ``tokens`` tokens."""
        self.free_blocks -= self.blocks_to_extend(sequence, tokens)
        assert self.free_blocks >= 0

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take beyond what they give back."""
        self.free_blocks -= pool.blocks_for(steps)
        assert self.free_blocks >= 0

    def free(self, sequence: Sequence) -> None:
        """Take everything back that a sequence still holds."""
        held = self._blocks_for(sequence.computed) + self._groups.sequence_blocks
        self.free_blocks += held - self._groups.windowed * sequence.skipped_blocks
        assert self.free_blocks <= self.total_blocks

    def _blocks_for(self, tokens: int) -> int:
        return self._groups.blocks_for(tokens, self.block_size)
