"""Settings of a vLLM engine's KV cache, every default resolved."""

from dataclasses import dataclass

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.kv_cache.pinned_stores import PinnedStores
from cluster_sim.serving.kv_cache.store_link import StoreLink


@dataclass(frozen=True, slots=True)
class KvCacheSettings:
    """Size of the cache, and what it keeps."""

    total_blocks: int
    block_size: int
    step_tokens: int
    """Most tokens of one step."""
    is_caching: bool = False
    """Whether computed blocks are found by equal prefixes."""
    groups: KvGroups | None = None
    """Groups of layers that share the blocks; None if every layer keeps the whole context."""
    host_blocks: int = 0
    """Blocks of host memory that keep what the device has lost."""
    host_load_block_us: float = 0.0
    """Time to load one of them."""
    stores: PinnedStores | None = None
    """The books over host memory where blocks stay pinned until their request ends; None if they do not."""
    store: StoreLink | None = None
    """The link to a store that replicas share; None without one."""
