"""A tier of host memory behind the prefix cache: prefixes that the device has lost are loaded back, for a price.

Design: when a sequence gives its blocks back, a copy of its full ones is in host memory (written through while other
work goes on, which costs no step any time, as with vLLM's offloading connector), least recently used first out.  A
lookup takes the longer of the two prefixes; what only the host has is loaded into new blocks of the device, block after
block over one link, and the step that admits the sequence waits for it.  Both tiers are the same kind of cache.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.hashed import HashedBlocks
from cluster_sim.serving.kv_cache.prefix import PrefixCache
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_US


class HostedBlocks(HashedBlocks):
    """``HashedBlocks`` with ``host_blocks`` more blocks in host memory, each ``load_us`` away."""

    def __init__(self, total_blocks: int, block_size: int, pool: DecodePool, host_blocks: int, load_us: float) -> None:
        super().__init__(total_blocks, block_size, pool)
        self._host = PrefixCache(host_blocks, block_size)
        self._load_ns = round(load_us * NS_PER_US)
        self.loaded_blocks = 0
        """Blocks loaded from the host so far."""

    def find_prefix(self, sequence: Sequence) -> int:
        """Return how many of the sequence's tokens are in either tier: whole blocks, and never all tokens."""
        on_device = super().find_prefix(sequence)
        on_host = self._host.match(self._content(sequence), sequence.known_tokens)
        return max(on_device, on_host.blocks * self.block_size)

    def blocks_to_admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Return how many free blocks an admission takes: those that are loaded are new on the device."""
        return super().blocks_to_admit(sequence, self._device_tokens(sequence), tokens)

    def admit(self, sequence: Sequence, prefix_tokens: int, tokens: int) -> int:
        """Give a sequence its blocks; return how long loading those that only the host has takes, ns."""
        on_device = self._device_tokens(sequence)
        super().admit(sequence, on_device, tokens)
        loaded = (prefix_tokens - on_device) // self.block_size
        self.loaded_blocks += loaded
        return loaded * self._load_ns

    def release(self, sequence: Sequence) -> None:
        """Take everything back; the full blocks are on the host by now, as far as it holds so many."""
        self._store(sequence, sequence.computed // self.block_size)
        super().release(sequence)

    def _device_tokens(self, sequence: Sequence) -> int:
        return self._last_match(sequence).blocks * self.block_size

    def _store(self, sequence: Sequence, blocks: int) -> None:
        """Put the first ``blocks`` blocks of a sequence into the host's cache, or make them its most recent."""
        host, content, key = self._host, self._content(sequence), sequence.request_id
        blocks = min(blocks, host.total_blocks)
        match = host.match(content, blocks * self.block_size + 1)
        host.admit(key, content, match)
        host.take(blocks - match.blocks)
        host.commit(key, blocks * self.block_size)
        host.release(key, blocks)
