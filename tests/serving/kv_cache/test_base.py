"""Contract of the KV caches: admissions and later steps take the blocks that they said, and all of them come back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.kv_cache.base import BlockCache, KvCache
from cluster_sim.serving.kv_cache.cache_choice import block_cache
from cluster_sim.serving.kv_cache.counted_blocks import CountedCache
from cluster_sim.serving.kv_cache.grouped_blocks import GroupedCache
from cluster_sim.serving.kv_cache.grouped_hashed_blocks import GroupedHashedCache
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.host_tier import HostedCache
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.settings import KvCacheSettings
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Attributes, Request

WINDOWS = KvGroups(full=1, windowed=2, window_tokens=8)
SETTINGS = {
    CountedCache: KvCacheSettings(40, 4, 16),
    HashedCache: KvCacheSettings(40, 4, 16, is_caching=True),
    HostedCache: KvCacheSettings(40, 4, 16, is_caching=True, host_blocks=30, host_load_block_us=2.0),
    GroupedCache: KvCacheSettings(120, 4, 16, groups=WINDOWS),
    GroupedHashedCache: KvCacheSettings(120, 4, 16, is_caching=True, groups=WINDOWS),
}


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_settings_choose_the_cache(kind: type) -> None:
    """Each combination of settings has its cache and the pool that counts for it; both know the size of a block."""
    cache, pool = block_cache(SETTINGS[kind])
    assert type(cache) is kind
    assert type(pool) is (DecodePool if SETTINGS[kind].groups is None else WindowedPool)
    assert (cache.block_size, cache.total_blocks) == (4, SETTINGS[kind].total_blocks)
    assert (cache.free_blocks, cache.used_blocks) == (cache.total_blocks, 0)


def sequence_of(request_id: int, stream: int, prompt: int) -> Sequence:
    """Return a sequence whose prompt is the head of a stream of tokens."""
    sequence = Sequence(Request(request_id, 0, prompt, 40, Attributes(segments=((stream, prompt),))), 0, 0)
    sequence.order = request_id
    return sequence


def check_books(cache: KvCache) -> None:
    assert cache.free_blocks + cache.used_blocks == cache.total_blocks
    assert cache.used_blocks >= 0
    validate = getattr(cache, "validate", None)
    if validate is not None:
        validate()


STEP = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(2, 40), st.integers(1, 16))


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=30))
@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_what_is_taken_is_what_was_said(kind: type, steps: list[tuple[int, int, int, int]]) -> None:
    """Sequences start, grow and end at random: free blocks fall by what was asked for, a prefix is whole blocks and
    leaves a token to compute, and in the end everything is free.
    """
    cache: BlockCache = block_cache(SETTINGS[kind])[0]
    running: dict[int, Sequence] = {}
    for name, stream, prompt, more in steps:
        sequence = running.get(name)
        if sequence is None:
            sequence = sequence_of(name, stream, prompt)
            match = cache.match_prefix(sequence)
            assert match.tokens % 4 == 0
            assert match.tokens < prompt
            tokens = min(prompt, match.tokens + more)
            blocks = cache.blocks_to_allocate(match, tokens, tokens)
            assert cache.blocks_to_allocate(match, tokens, prompt) >= blocks
            if blocks > cache.free_blocks:
                continue
            before = cache.free_blocks
            allocation = cache.allocate(sequence, match, tokens)
            assert allocation.cached_tokens == match.tokens
            assert allocation.load_ns % 2_000 == 0
            assert kind is HostedCache or allocation.load_ns == 0
            assert before - cache.free_blocks == blocks
            sequence.computed = tokens
            running[name] = sequence
        else:
            before = cache.free_blocks
            cache.free_skipped(sequence)
            assert cache.free_blocks == before or cache.has_windows
            before = cache.free_blocks
            tokens = sequence.computed + more
            blocks = cache.blocks_to_extend(sequence, tokens)
            if blocks > cache.free_blocks or tokens > sequence.prompt_tokens:
                cache.free(sequence)
                del running[name]
                continue
            cache.extend(sequence, tokens)
            assert before - cache.free_blocks == blocks
            sequence.computed = tokens
        check_books(cache)
    for sequence in running.values():
        cache.free(sequence)
    check_books(cache)
    assert cache.free_blocks == cache.total_blocks


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_pools_take_what_their_steps_take_one_by_one(kind: type) -> None:
    """Nine steps of a pool of three take the same blocks at once as in portions, and as the members alone."""
    used = []
    for portions in ((9,), (4, 5), (1,) * 9):
        cache, pool = block_cache(SETTINGS[kind])
        for name, prompt in enumerate((5, 8, 14)):
            sequence = sequence_of(name, name, prompt)
            cache.allocate(sequence, cache.match_prefix(sequence), prompt)
            sequence.computed, sequence.generated = prompt, 1
            pool.add(sequence)
        for steps in portions:
            cache.extend_pool(pool, steps)
            pool.advance(steps)
        used.append(cache.used_blocks)
        check_books(cache)
    assert used[0] == used[1] == used[2]
    if not cache.has_windows:
        assert used[0] == sum(-(-(prompt + 9) // 4) for prompt in (5, 8, 14))


def test_pages_of_a_radix_cache_come_back() -> None:
    """SGLang's cache keeps the same books: a prompt of 22 tokens holds 6 pages of 4; after its end all are free, and
    another finds the 5 full ones.
    """
    cache = RadixCache(40, 4)
    first = sequence_of(0, 7, 22)
    assert cache.match_prefix(first).tokens == 0
    cache.lock(first)
    assert cache.blocks_to_extend(first, 22) == 6
    cache.take(6 * 4)
    first.computed = 22
    check_books(cache)
    assert (cache.used_blocks, cache.free_blocks) == (6, 34)
    assert cache.blocks_to_extend(first, 25) == 1
    pool = DecodePool(4)
    first.generated = 1
    pool.add(first)
    cache.extend_pool(pool, 3)
    pool.advance(3)
    pool.dissolve()
    assert (first.computed, cache.used_blocks) == (25, 7)
    cache.free(first)
    check_books(cache)
    assert cache.used_blocks == 0
    assert cache.unused_tokens == 160 - 24
    assert cache.match_prefix(sequence_of(1, 7, 22)).tokens == 20
