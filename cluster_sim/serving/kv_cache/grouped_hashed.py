"""Paged KV memory with the prefix cache for models with attention windows."""

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.replayed_pool import ReplayedPool
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.grouped import GroupedBlocks
from cluster_sim.serving.kv_cache.grouped_prefix import GroupedPrefixCache, GroupMatch
from cluster_sim.serving.kv_cache.keys import BlockKeys
from cluster_sim.serving.sequence import Sequence


class GroupedHashedBlocks(GroupedBlocks):
    """A pool of blocks for several groups whose full blocks can be found by content.

    What is freed and reused in which order depends on every single block, so steps made in bulk are replayed block by
    block, in the order in which walking the running list would do it.
    """

    def __init__(self, total_blocks: int, block_size: int, groups: KvGroups, budget_tokens: int) -> None:
        super().__init__(total_blocks, block_size, groups, budget_tokens)
        self.cache = GroupedPrefixCache(total_blocks, block_size, groups)
        self._growing: dict[int, None] = {}
        """Segments that running sequences write as their output, so that later requests may name them."""
        self._match: tuple[int, GroupMatch] | None = None
        """The last lookup, by request id; void after any change."""

    @property
    def can_plan_decodes(self) -> bool:  # type: ignore[override]
        """Whether a block that leaves a window is surely free then: nobody else holds it."""
        return not self.cache.shared_blocks

    def find_prefix(self, sequence: Sequence) -> int:
        """Return how many of the sequence's tokens are in the cache: whole blocks, and never all tokens."""
        limit = (sequence.known_tokens - 1) // self.block_size
        match = self.cache.match(self._keys(sequence, limit), limit)
        self._match = (sequence.request_id, match)
        return match.blocks * self.block_size

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether a running sequence is writing an output that the prompt of ``sequence`` contains."""
        growing = self._growing
        return bool(growing) and any(segment in growing for segment, _ in sequence.request.attributes.segments)

    def blocks_to_admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Return how many free blocks an admission takes: new ones, and cached ones that nobody holds."""
        match = self._last_match(sequence)
        return self.groups.count * (self.blocks_for(tokens) - match.blocks) + self.cache.free_of(match)

    def blocks_to_reserve(self, sequence: Sequence, tokens: int) -> int:
        """Return the same for ``tokens`` tokens in several steps.  vLLM caps a windowed group's blocks before it counts
        what is found, so that behind a long prefix it reserves nothing there.
        """
        match, groups = self._last_match(sequence), self.groups
        blocks = self.blocks_for(tokens)
        windowed = max(min(blocks, self._window_blocks) - match.blocks, 0)
        return groups.full * (blocks - match.blocks) + groups.windowed * windowed + self.cache.free_of(match)

    def admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Give a sequence its cached blocks and new ones for the rest of ``tokens`` tokens."""
        match = self._last_match(sequence)
        sequence.skipped_blocks = self.groups.skipped_tokens(prefix_tokens) // self.block_size
        self.cache.admit(sequence.request_id, match)
        self.cache.take(sequence.request_id, self.blocks_for(tokens) - match.blocks)
        self._commit(sequence, tokens)
        output = sequence.request.attributes.output_segment
        if output >= 0:
            self._growing[output] = None
        self._changed()
        return 0

    def slide(self, sequence: Sequence) -> None:
        """Give back what the sequence's next token cannot see; done before it is given anything."""
        self._slide(sequence, sequence.computed)
        self._changed()

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Give the sequence what it misses to hold ``tokens`` tokens; ``computed`` has not moved yet."""
        self.cache.take(sequence.request_id, self.blocks_for(tokens) - self.blocks_for(sequence.computed))
        self._commit(sequence, tokens)
        self._changed()

    def decode(self, pool: DecodePool, steps: int) -> None:
        """Make the next ``steps`` steps of a decode pool, block by block."""
        assert isinstance(pool, ReplayedPool)
        size = self.block_size
        for step, members in pool.due(steps):
            for sequence in members:
                computed = sequence.base + pool.step + step
                self._slide(sequence, computed)
                if computed % size == 0:
                    self.cache.take(sequence.request_id, 1)
                if (computed + 1) % size == 0:
                    self._commit(sequence, computed + 1)
        self._changed()

    def release(self, sequence: Sequence) -> None:
        """Take everything back; full blocks stay findable until they are reused."""
        self.cache.release(sequence.request_id)
        self._growing.pop(sequence.request.attributes.output_segment, None)
        self._changed()

    def _slide(self, sequence: Sequence, computed: int) -> None:
        skipped = self.groups.skipped_tokens(computed) // self.block_size
        if skipped > sequence.skipped_blocks:
            self.cache.slide(sequence.request_id, sequence.skipped_blocks, skipped)
            sequence.skipped_blocks = skipped

    def _commit(self, sequence: Sequence, tokens: int) -> None:
        blocks = tokens // self.block_size
        self.cache.commit(sequence.request_id, self._keys(sequence, blocks), blocks)

    def _keys(self, sequence: Sequence, blocks: int) -> list[int]:
        keys = sequence.kv
        if not isinstance(keys, BlockKeys):
            keys = sequence.kv = BlockKeys(content_of(sequence.request), self.block_size)
        return keys.first(blocks)

    def _last_match(self, sequence: Sequence) -> GroupMatch:
        assert self._match is not None
        request_id, match = self._match
        assert request_id == sequence.request_id, "look the prefix up right before admitting"
        return match

    def _changed(self) -> None:
        self.free = self.cache.free_blocks
        self._match = None
