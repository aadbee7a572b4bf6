"""Tests of block pools as columns."""

from random import Random

from cluster_sim.serving.kv_cache.block_pool import BlockPool
from cluster_sim.serving.kv_cache.content import Content
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph


def _use(pool: BlockPool, random: Random, held: dict[int, int], first: int, times: int) -> list[int]:
    """Take and return blocks of sequences that share prefixes; return what was found and what is free."""
    seen = []
    for key in range(first, first + times):
        if held and (random.random() < 0.4 or pool.free_blocks < 20):
            gone = random.choice(sorted(held))
            pool.release(gone, held.pop(gone))
            continue
        shared, own = random.randrange(6) << 2, (1000 + key) << 2 | 1
        cut = random.randrange(1, 50)
        content = Content(random.choice(("", "adapter")), ((shared, 0, cut), (own, cut, 1 << 62)))
        tokens = cut + random.randrange(1, 90)
        match = pool.match(content, tokens)
        blocks = -(-tokens // 16)
        if blocks - match.blocks + match.free_blocks > pool.free_blocks:
            continue
        pool.admit(key, content, match)
        pool.take(blocks - match.blocks)
        pool.commit(key, tokens)
        held[key] = blocks
        seen += [match.blocks, match.free_blocks, pool.free_blocks]
    return seen


def test_a_pool_from_its_columns_goes_on_as_the_pool_itself() -> None:
    """Matches, splits, evictions and releases after a snapshot find the same blocks, and the snapshot repeats."""
    for seed in range(20):
        random = Random(seed)
        pool, held = BlockPool(60, 16), {}
        _use(pool, random, held, 0, 60)
        state = encode_graph({"pool": pool}, Externals())
        restored = BlockPool(60, 16)
        decode_graph(state, Externals(), {"pool": restored})
        restored.validate()
        assert encode_graph({"pool": restored}, Externals()) == state
        again, kept = Random(), dict(held)
        again.setstate(random.getstate())
        assert _use(restored, again, kept, 100, 80) == _use(pool, random, held, 100, 80)
        restored.validate()
