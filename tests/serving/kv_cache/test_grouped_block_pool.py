"""The prefix cache over KV cache groups: keys, hits against their definition, and every block accounted for."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.kv_cache.block_keys import BlockKeys
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.grouped_block_pool import NULL, GroupedBlockPool
from cluster_sim.workload.request import Attributes, Request


def keys_of(*segments: tuple[int, int], lora: str = "", output: int = -1) -> list[int]:
    """Return the keys of the first 6 blocks of 4 tokens of a request with these segments."""
    prompt = sum(tokens for _, tokens in segments)
    request = Request(7, 0, prompt, 40, Attributes(segments=segments, output_segment=output, lora=lora))
    return BlockKeys(content_of(request), 4).first(6)[:6]


def test_equal_tokens_have_equal_keys_as_far_as_they_go() -> None:
    """Segments of 6 and 10 tokens: what follows the first block decides on the second, the output on the fifth."""
    base = keys_of((1, 6), (2, 10))
    assert len(set(base)) == 6
    same = [
        sum(one == other for one, other in zip(base, keys, strict=True))
        for keys in (
            keys_of((1, 6), (2, 10)),
            keys_of((1, 6), (3, 10)),
            keys_of((1, 5), (2, 11)),
            keys_of((1, 6), (2, 10), output=9),
            keys_of((1, 6), (2, 10), lora="x"),
        )
    ]
    assert same == [6, 1, 1, 4, 0]
    # A later turn names the output: its blocks are found by the same keys.
    assert keys_of((1, 6), (2, 10), output=9) == keys_of((1, 6), (2, 10), (9, 8))


GROUPS = st.builds(
    KvGroups,
    full=st.integers(0, 2),
    windowed=st.integers(1, 2),
    window_tokens=st.sampled_from([2, 4, 5, 8, 9, 12]),
) | st.builds(KvGroups, st.integers(0, 2), st.integers(1, 2), st.sampled_from([4, 8, 12]), st.just(True))


def longest_hit(cache: GroupedBlockPool, groups: KvGroups, keys: list[int], limit: int) -> int:
    """Return the most blocks such that every group has all of them that the next token sees."""
    windowed = [True] * groups.windowed + [False] * groups.full
    for hit in range(limit, 0, -1):
        seen = groups.skipped_tokens(hit * 4) // 4
        if all(
            key in cached
            for is_windowed, cached in zip(windowed, cache._cached, strict=True)
            for key in keys[seen if is_windowed else 0 : hit]
        ):
            return hit
    return 0


@settings(deadline=None)
@given(
    GROUPS,
    st.integers(20, 60),
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=40
    ),
)
def test_hits_are_the_longest_and_blocks_are_never_lost(
    groups: KvGroups, total: int, operations: list[tuple[int, int, int, int]]
) -> None:
    """Sequences start, grow, slide and end at random: a hit is as long as its definition allows, every block is free or
    held, what is free never goes below nothing, and all come back.
    """
    cache = GroupedBlockPool(total, 4, groups)
    running: dict[int, tuple[list[int], int, int]] = {}
    """By name (keys, blocks, blocks given back)."""
    for name, stream, shared, length in operations:
        if name in running:
            keys, blocks, skipped = running[name]
            computed = blocks * 4
            seen = groups.skipped_tokens(computed) // 4
            if seen > skipped:
                cache.slide(name, skipped, seen)
            grown = min(blocks + shared, len(keys))
            if grown == blocks or (grown - blocks) * groups.count > cache.free_blocks:
                cache.release(name)
                del running[name]
            else:
                cache.take(name, grown - blocks)
                cache.commit(name, keys, grown)
                running[name] = keys, grown, seen
        else:
            request = Request(name, 0, 4 * (shared + length), 1, Attributes(segments=((stream, 4 * shared),)))
            keys = BlockKeys(content_of(request), 4).first(shared + length)[: shared + length]
            match = cache.match(keys, len(keys) - 1)
            assert match.blocks == longest_hit(cache, groups, keys, len(keys) - 1)
            held = [sum(block != NULL for block in found) for found in match.found]
            windowed = match.blocks - groups.skipped_tokens(4 * match.blocks) // 4
            assert held == [windowed] * groups.windowed + [match.blocks] * groups.full
            free = cache.free_of(match)
            if free + groups.count > cache.free_blocks:
                continue
            before = cache.free_blocks
            cache.admit(name, match)
            assert before - cache.free_blocks == free
            cache.take(name, 1)
            cache.commit(name, keys, match.blocks + 1)
            running[name] = keys, match.blocks + 1, match.blocks - windowed
        cache.validate()
        assert 0 <= cache.free_blocks <= total
    for name in running:
        cache.release(name)
    cache.validate()
    assert cache.free_blocks == total
