"""Choice of the KV cache of a vLLM engine, and of the decode pool that counts for it."""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.kv_cache.base import BlockCache
from cluster_sim.serving.kv_cache.counted_blocks import CountedCache
from cluster_sim.serving.kv_cache.grouped_blocks import GroupedCache
from cluster_sim.serving.kv_cache.grouped_hashed_blocks import GroupedHashedCache
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.host_tier import HostedCache
from cluster_sim.serving.kv_cache.settings import KvCacheSettings
from cluster_sim.serving.kv_cache.store_tier import StoreBackedCache


def block_cache(settings: KvCacheSettings) -> tuple[BlockCache, DecodePool]:
    """Return the cache and its pool: blocks are counted, or named if prefixes are cached, on the host or in a shared
    store too; in groups if layers have an attention window.
    """
    total, size, groups = settings.total_blocks, settings.block_size, settings.groups
    if groups is not None:
        if settings.is_caching:
            windowed = WindowedPool(size, groups, names_blocks=True)
            return GroupedHashedCache(total, size, groups, settings.step_tokens), windowed
        return GroupedCache(total, size, groups, settings.step_tokens), WindowedPool(size, groups)
    pool = DecodePool(size)
    if not settings.is_caching:
        return CountedCache(total, size), pool
    if settings.host_blocks:
        hosted = HostedCache(total, size, pool, settings.host_blocks, settings.host_load_block_us, settings.stores)
        return hosted, pool
    if settings.store is not None:
        return StoreBackedCache(total, size, pool, settings.store), pool
    return HashedCache(total, size, pool), pool
