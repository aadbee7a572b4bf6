"""KV cache with the prefix cache for models with attention windows."""

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.kv_cache.base import NO_HANDOVER, AllocationResult, MatchResult
from cluster_sim.serving.kv_cache.block_keys import BlockKeys
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.grouped_block_pool import GroupedBlockPool, GroupMatch
from cluster_sim.serving.sequence import Sequence


class GroupedHashedCache:
    """A ``BlockCache`` for several groups whose full blocks can be found by content.

    What is freed and reused in which order depends on every single block, so steps made in bulk are replayed block by
    block, in the order in which walking the running list would do it.
    """

    has_windows = True

    def __init__(self, total_blocks: int, block_size: int, groups: KvGroups, step_tokens: int) -> None:
        """``step_tokens`` is the most tokens of one step."""
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.free_blocks = total_blocks
        self._groups = groups
        self._window_blocks = groups.window_blocks(step_tokens, block_size)
        self._blocks = GroupedBlockPool(total_blocks, block_size, groups)
        self._growing: dict[int, Sequence] = {}
        """Segments that running sequences write as their output, so that later requests may name them."""

    @property
    def can_fast_forward(self) -> bool:
        """Whether a block that leaves a window is surely free then: nobody else holds it."""
        return not self._blocks.shared_blocks

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold."""
        return self.total_blocks - self.free_blocks

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest cached prefix of a waiting sequence."""
        limit = (sequence.known_tokens - 1) // self.block_size
        match = self._blocks.match(self._keys(sequence, limit), limit)
        return MatchResult(match.blocks * self.block_size, match)

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether a running sequence is writing an output that the prompt of ``sequence`` contains."""
        growing = self._growing
        if not growing:
            return False
        return any(
            growing.get(segment, sequence) is not sequence for segment, _ in sequence.request.attributes.segments
        )

    def catch_up(self) -> None:
        """Do nothing: blocks have their hashes at once."""

    def blocks_to_allocate(self, match: MatchResult, tokens: int, whole_tokens: int) -> int:
        """Return how many free blocks an admission takes: new ones, and cached ones that nobody holds.

        vLLM caps a windowed group's blocks of later steps before it counts what is found, so that behind a long prefix
        it reserves nothing there.
        """
        found, groups = match.found, self._groups
        assert isinstance(found, GroupMatch)
        whole = self._blocks_for(whole_tokens)
        windowed = max(min(whole, self._window_blocks) - found.blocks, 0)
        later = groups.full * (whole - found.blocks) + groups.windowed * windowed
        first = groups.count * (self._blocks_for(tokens) - found.blocks)
        return max(first, later) + self._blocks.free_of(found)

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its cached blocks and new ones for the rest of ``tokens`` tokens."""
        found = match.found
        assert isinstance(found, GroupMatch)
        sequence.skipped_blocks = self._groups.skipped_tokens(match.tokens) // self.block_size
        self._blocks.admit(sequence.key, found)
        self._blocks.take(sequence.key, self._blocks_for(tokens) - found.blocks)
        self._commit(sequence, tokens)
        output = sequence.request.attributes.output_segment
        if output >= 0:
            self._growing[output] = sequence
        self.free_blocks = self._blocks.free_blocks
        return AllocationResult(match.tokens)

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
        self._slide(sequence, sequence.computed)
        self.free_blocks = self._blocks.free_blocks

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks a sequence takes to hold ``tokens`` tokens in all."""
        return self._groups.count * (self._blocks_for(tokens) - self._blocks_for(sequence.computed))

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Give a sequence what it misses to hold ``tokens`` tokens."""
        self._blocks.take(sequence.key, self._blocks_for(tokens) - self._blocks_for(sequence.computed))
        self._commit(sequence, tokens)
        self.free_blocks = self._blocks.free_blocks

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Make the next ``steps`` steps of a decode pool, block by block."""
        assert isinstance(pool, WindowedPool)
        size = self.block_size
        for step, members in pool.due(steps):
            for sequence in members:
                computed = sequence.base + pool.step + step
                self._slide(sequence, computed)
                if computed % size == 0:
                    self._blocks.take(sequence.key, 1)
                if (computed + 1) % size == 0:
                    self._commit(sequence, computed + 1)
        self.free_blocks = self._blocks.free_blocks

    def free(self, sequence: Sequence) -> None:
        """Take everything back; full blocks stay findable until they are reused."""
        self._blocks.release(sequence.key)
        if self._growing.get(sequence.request.attributes.output_segment) is sequence:
            del self._growing[sequence.request.attributes.output_segment]
        self.free_blocks = self._blocks.free_blocks

    def validate(self) -> None:
        """Assert what must hold between calls."""
        self._blocks.validate()
        assert self.free_blocks == self._blocks.free_blocks

    def _slide(self, sequence: Sequence, computed: int) -> None:
        skipped = self._groups.skipped_tokens(computed) // self.block_size
        if skipped > sequence.skipped_blocks:
            self._blocks.slide(sequence.key, sequence.skipped_blocks, skipped)
            sequence.skipped_blocks = skipped

    def _commit(self, sequence: Sequence, tokens: int) -> None:
        blocks = tokens // self.block_size
        self._blocks.commit(sequence.key, self._keys(sequence, blocks), blocks)

    def _keys(self, sequence: Sequence, blocks: int) -> list[int]:
        keys = sequence.kv
        if not isinstance(keys, BlockKeys):
            keys = sequence.kv = BlockKeys(content_of(sequence.request, sequence.own_output), self.block_size)
        return keys.first(blocks)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)
