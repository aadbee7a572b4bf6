"""KV cache with a tier of host memory behind the prefix cache: prefixes that the device has lost are loaded back.

Design: when a sequence gives its blocks back, a copy of its full ones is in host memory (written through while other
work goes on, which costs no step any time, as with vLLM's offloading connector), least recently used first out.  A
lookup takes the longer of the two prefixes; what only the host has is loaded into new blocks of the device, block after
block over one link, and the step that admits the sequence waits for it.  Both tiers are the same kind of block pool.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import AllocationResult, MatchResult
from cluster_sim.serving.kv_cache.block_pool import BlockMatch, BlockPool
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.pinned_stores import PinnedStores
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_US


class HostedCache(HashedCache):
    """A ``HashedCache`` with ``host_blocks`` more blocks in host memory, each ``load_us`` away."""

    def __init__(
        self,
        total_blocks: int,
        block_size: int,
        pool: DecodePool,
        host_blocks: int,
        load_us: float,
        stores: PinnedStores | None = None,
    ) -> None:
        """``stores`` keeps the books where blocks stay pinned until their request ends; None stores all of them."""
        super().__init__(total_blocks, block_size, pool)
        self._stores = stores
        self._host = BlockPool(host_blocks, block_size)
        self._load_ns = round(load_us * NS_PER_US)

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest prefix of a waiting sequence in either tier."""
        on_device = super().match_prefix(sequence)
        on_host = self._host.match(self.content(sequence), sequence.known_tokens)
        return MatchResult(max(on_device.tokens, on_host.blocks * self.block_size), on_device.found)

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence its blocks; those that only the host has are new on the device, and loaded."""
        found = match.found
        assert isinstance(found, BlockMatch)
        super().allocate(sequence, match, tokens)
        if self._stores is not None:
            self._stores.enter(sequence.key, self._host.match(self.content(sequence), sequence.known_tokens).blocks)
        loaded_blocks = match.tokens // self.block_size - found.blocks
        if sequence.scheduled_ns < 0:
            sequence.loaded_tokens = loaded_blocks * self.block_size
        return AllocationResult(match.tokens, loaded_blocks * self._load_ns)

    def free(self, sequence: Sequence) -> None:
        """Take everything back; the full blocks are on the host by now, as far as it holds so many."""
        full = sequence.computed // self.block_size
        self._store(sequence, full if self._stores is None else min(full, self._stores.leave(sequence.key)))
        super().free(sequence)

    def validate(self) -> None:
        """Assert what must hold between calls; nobody holds a block of the host then."""
        super().validate()
        self._host.validate()
        assert self._host.free_blocks == self._host.total_blocks

    def _store(self, sequence: Sequence, blocks: int) -> None:
        """Put the first ``blocks`` blocks of a sequence into the host's pool, or make them its most recent."""
        host, content, key = self._host, self.content(sequence), sequence.key
        blocks = min(blocks, host.total_blocks)
        match = host.match(content, blocks * self.block_size + 1)
        host.admit(key, content, match)
        host.take(blocks - match.blocks)
        host.commit(key, blocks * self.block_size)
        host.release(key, blocks)
