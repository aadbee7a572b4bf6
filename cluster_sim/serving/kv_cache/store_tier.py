"""KV cache with a store behind it that other replicas fill, too: prefixes that they have computed are loaded.

Design: a dispatch says how much of its prompt the store holds (``Sequence.stored_tokens``), as the router knew when it
sent the request.  A lookup takes the longer of that and what the device has; what only the store has is loaded into new
blocks, and the step that admits the sequence waits for it, as with LMCache's and Mooncake's connectors in vLLM, which
load before the forward pass.  So a replica asks nobody, and its steps depend on its own messages alone.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import AllocationResult, MatchResult
from cluster_sim.serving.kv_cache.block_pool import BlockMatch
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.store_link import StoreLink
from cluster_sim.serving.sequence import Sequence


class StoreBackedCache(HashedCache):
    """A ``HashedCache`` that loads from a shared store over a link of its own."""

    def __init__(self, total_blocks: int, block_size: int, pool: DecodePool, link: StoreLink) -> None:
        super().__init__(total_blocks, block_size, pool)
        self._link = link

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest prefix of a waiting sequence here or in the store; at least one token is left to compute."""
        on_device = super().match_prefix(sequence)
        stored = min(sequence.stored_tokens, sequence.known_tokens - 1) // self.block_size * self.block_size
        return MatchResult(max(on_device.tokens, stored), on_device.found)

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its blocks; those that only the store has are new here, and loaded."""
        found = match.found
        assert isinstance(found, BlockMatch)
        super().allocate(sequence, match, tokens)
        loaded = match.tokens - found.blocks * self.block_size
        if sequence.scheduled_ns < 0:
            sequence.loaded_tokens = loaded
        return AllocationResult(match.tokens, self._link.load_ns(loaded) if loaded else 0)
