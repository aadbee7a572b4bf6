"""Paged KV memory with vLLM's prefix cache: ``CountedBlocks`` for a scheduler, ``PrefixCache`` inside."""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.blocks import CountedBlocks
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.prefix import Match, PrefixCache
from cluster_sim.serving.sequence import Sequence


class HashedBlocks(CountedBlocks):
    """A pool of blocks whose full ones can be found by content.

    Blocks get their hashes when their tokens are scheduled, as in vLLM, so that a request admitted in the same step can
    share them.  For tokens generated in bulk this is made up for when it can matter: before the sequence gives its
    blocks back, and before a lookup that names its output.
    """

    def __init__(self, total_blocks: int, block_size: int, pool: DecodePool) -> None:
        super().__init__(total_blocks, block_size)
        self._cache = PrefixCache(total_blocks, block_size)
        self._pool = pool
        self._growing: dict[int, Sequence] = {}
        """Sequences that write an output which later requests may name, by the output's segment."""
        self._match: tuple[int, Match] | None = None
        """The last lookup, by request id; void after any change."""

    def find_prefix(self, sequence: Sequence) -> int:
        """Return how many of the sequence's tokens are in the cache: whole blocks, and never all tokens."""
        for segment, _ in sequence.request.attributes.segments:
            writer = self._growing.get(segment)
            if writer is not None:
                self._commit(writer, self._computed(writer))
        match = self._cache.match(self._content(sequence), sequence.known_tokens)
        self._match = (sequence.request_id, match)
        return match.blocks * self.block_size

    def catch_up(self) -> None:
        """Give the blocks of every growing output their hashes."""
        for writer in self._growing.values():
            self._commit(writer, self._computed(writer))

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether a running sequence is writing an output that the prompt of ``sequence`` contains."""
        growing = self._growing
        return bool(growing) and any(segment in growing for segment, _ in sequence.request.attributes.segments)

    def blocks_to_admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Return how many free blocks an admission takes: new ones, and cached ones that nobody holds."""
        match = self._last_match(sequence)
        return self.blocks_for(tokens) - prefix_tokens // self.block_size + match.free_blocks

    def admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Give a sequence its cached blocks and new ones for the rest of ``tokens`` tokens."""
        self._cache.admit(sequence.request_id, self._content(sequence), self._last_match(sequence))
        self._take(self.blocks_for(tokens) - prefix_tokens // self.block_size)
        self._commit(sequence, tokens)
        output = sequence.request.attributes.output_segment
        if output >= 0:
            self._growing[output] = sequence
        return 0

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Give the sequence what it misses to hold ``tokens`` tokens; ``computed`` has not moved yet."""
        self._take(self.missing(sequence, tokens))
        self._commit(sequence, tokens)

    def decode(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take; hashes are given when they can matter."""
        self._take(pool.blocks_for(steps))

    def release(self, sequence: Sequence) -> None:
        """Take everything back; full blocks stay findable until they are reused."""
        self._commit(sequence, sequence.computed)
        self._cache.release(sequence.request_id, self.blocks_for(sequence.computed))
        self._changed()
        self._growing.pop(sequence.request.attributes.output_segment, None)

    def _content(self, sequence: Sequence) -> Content:
        if not isinstance(sequence.kv, Content):
            sequence.kv = content_of(sequence.request)
        return sequence.kv

    def _computed(self, sequence: Sequence) -> int:
        """Return the computed tokens, which a member of the decode pool does not keep itself."""
        if sequence.request_id in self._pool.members:
            return sequence.base + self._pool.step
        return sequence.computed

    def _last_match(self, sequence: Sequence) -> Match:
        assert self._match is not None
        request_id, match = self._match
        assert request_id == sequence.request_id, "look the prefix up right before admitting"
        return match

    def _take(self, blocks: int) -> None:
        self._cache.take(blocks)
        self._changed()

    def _commit(self, sequence: Sequence, tokens: int) -> None:
        self._cache.commit(sequence.request_id, tokens)
        self._match = None

    def _changed(self) -> None:
        self.free = self._cache.free_blocks
        self._match = None
        assert self.free >= 0
