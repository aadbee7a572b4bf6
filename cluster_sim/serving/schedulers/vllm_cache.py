"""Choice of the KV cache of a vLLM v1 engine, and of the decode pool that counts for it."""

from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.replayed_pool import ReplayedPool
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.kv_cache.blocks import CountedBlocks
from cluster_sim.serving.kv_cache.grouped import GroupedBlocks
from cluster_sim.serving.kv_cache.grouped_hashed import GroupedHashedBlocks
from cluster_sim.serving.kv_cache.hashed import HashedBlocks
from cluster_sim.serving.kv_cache.hosted import HostedBlocks
from cluster_sim.serving.scheduler_limits import SchedulerLimits


def paged_cache(engine: Engine, limits: SchedulerLimits) -> tuple[CountedBlocks, DecodePool]:
    """Return the cache and its pool: blocks that are counted, or named where prefixes are cached, on the host too; in
    groups where layers have an attention window.
    """
    total, size, groups = limits.kv_blocks, limits.block_size, limits.kv_groups
    if groups is not None:
        budget = limits.max_num_batched_tokens
        if engine.enable_prefix_caching:
            return GroupedHashedBlocks(total, size, groups, budget), ReplayedPool(size, groups)
        return GroupedBlocks(total, size, groups, budget), WindowedPool(size, groups)
    pool = DecodePool(size)
    if not engine.enable_prefix_caching:
        return CountedBlocks(total, size), pool
    if engine.host_blocks:
        return HostedBlocks(total, size, pool, engine.host_blocks, engine.host_load_block_us or 0.0), pool
    return HashedBlocks(total, size, pool), pool
