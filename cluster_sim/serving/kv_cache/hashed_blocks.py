"""KV cache with vLLM's prefix cache: full blocks can be found by their content."""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import AllocationResult, MatchResult
from cluster_sim.serving.kv_cache.block_pool import BlockMatch, BlockPool
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.prefix_changes import PrefixChanges
from cluster_sim.serving.sequence import Sequence


class HashedCache:
    """A ``BlockCache`` over a ``BlockPool``.

    Blocks get their hashes when their tokens are scheduled, as in vLLM, so that a request admitted in the same step can
    share them.  For tokens generated in bulk this is made up for when it can matter: before the sequence gives its
    blocks back, and before a lookup that names its output.
    """

    has_windows = False
    can_fast_forward = True

    def __init__(self, total_blocks: int, block_size: int, pool: DecodePool) -> None:
        """``pool`` holds the decodes that move in bulk."""
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.free_blocks = total_blocks
        self._blocks = BlockPool(total_blocks, block_size)
        self._pool = pool
        self._growing: dict[int, Sequence] = {}
        """Sequences that write an output which later requests may name, by the output's segment."""

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold."""
        return self.total_blocks - self.free_blocks

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest cached prefix of a waiting sequence."""
        for segment, _ in sequence.request.attributes.segments:
            writer = self._growing.get(segment)
            if writer is not None:
                self._commit(writer)
        match = self._blocks.match(self.content(sequence), sequence.known_tokens)
        return MatchResult(match.blocks * self.block_size, match)

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether another running sequence is writing an output that the prompt of ``sequence`` contains."""
        growing = self._growing
        if not growing:
            return False
        return any(
            growing.get(segment, sequence) is not sequence for segment, _ in sequence.request.attributes.segments
        )

    def catch_up(self) -> None:
        """Give the blocks of every growing output their hashes."""
        for writer in self._growing.values():
            self._commit(writer)

    def blocks_to_allocate(self, match: MatchResult, tokens: int, whole_tokens: int) -> int:
        """Return how many free blocks an admission takes: new ones, and cached ones that nobody holds."""
        found = match.found
        assert isinstance(found, BlockMatch)
        return -(-whole_tokens // self.block_size) - found.blocks + found.free_blocks

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its cached blocks and new ones for the rest of ``tokens`` tokens."""
        self.reserve(sequence, match, tokens)
        self.fill(sequence, tokens)
        return AllocationResult(match.tokens)

    def reserve(self, sequence: Sequence, match: MatchResult, tokens: int) -> None:
        """Give a sequence its cached blocks and new ones without content."""
        found = match.found
        assert isinstance(found, BlockMatch)
        self._blocks.admit(sequence.key, self.content(sequence), found)
        self.free_blocks -= found.free_blocks
        self._take(-(-tokens // self.block_size) - found.blocks)

    def fill(self, sequence: Sequence, tokens: int) -> None:
        """Give the full blocks their hashes."""
        self._blocks.commit(sequence.key, tokens)
        output = sequence.request.attributes.output_segment
        if output >= 0:
            self._growing[output] = sequence

    def cancel_reservation(self, sequence: Sequence, tokens: int) -> None:
        """Take back the blocks, of which those without content cannot be found."""
        self._blocks.release(sequence.key, -(-tokens // self.block_size))
        self.free_blocks = self._blocks.free_blocks

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks a sequence takes to hold ``tokens`` tokens in all."""
        size = self.block_size
        return -(-tokens // size) + -sequence.computed // size

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Give a sequence what it misses to hold ``tokens`` tokens."""
        self._take(self.blocks_to_extend(sequence, tokens))
        self._blocks.commit(sequence.key, tokens)

    def free_skipped(self, sequence: Sequence) -> None:
        """Do nothing: a token sees all that came before it."""

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take; hashes are given when they can matter."""
        self._take(pool.blocks_for(steps))

    def free(self, sequence: Sequence) -> None:
        """Take everything back; full blocks stay findable until they are reused."""
        self._blocks.commit(sequence.key, sequence.computed)
        self._blocks.release(sequence.key, -(-sequence.computed // self.block_size))
        self.free_blocks = self._blocks.free_blocks
        if self._growing and self._growing.get(sequence.request.attributes.output_segment) is sequence:
            del self._growing[sequence.request.attributes.output_segment]

    def track_prefixes(self) -> None:
        """Keep what changes from now on, while nothing is cached."""
        self._blocks.changes = PrefixChanges()

    def changed_prefixes(self) -> list[tuple[int, int]]:
        """Return what has changed since the last call, see ``PrefixChanges``."""
        self.catch_up()
        assert self._blocks.changes is not None
        return self._blocks.changes.take()

    def content(self, sequence: Sequence) -> Content:
        """Return what the tokens of a sequence are, kept with it."""
        if not isinstance(sequence.kv, Content):
            sequence.kv = content_of(sequence.request, sequence.own_output)
        return sequence.kv

    def validate(self) -> None:
        """Assert what must hold between calls."""
        self._blocks.validate()
        assert self.free_blocks == self._blocks.free_blocks

    def _take(self, blocks: int) -> None:
        if blocks > 0:
            self._blocks.take(blocks)
            self.free_blocks -= blocks

    def _commit(self, writer: Sequence) -> None:
        """Give the full blocks of a growing output their hashes; a member of the pool does not count its own tokens."""
        is_pooled = writer.key in self._pool.members
        self._blocks.commit(writer.key, writer.base + self._pool.step if is_pooled else writer.computed)
