"""Changes of cached prefixes: whoever is told of them finds what the cache itself finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.block_pool import BlockPool
from cluster_sim.serving.kv_cache.content import PRIVATE_PROMPT, SHARED, Content, content_of, stream_of
from cluster_sim.serving.kv_cache.prefix_changes import PrefixChanges, shared_ranges
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.workload.request import Attributes, Request
from tests.copied import copied

SIZE = 4


def content(*segments: tuple[int, int], own: int = 0, number: int = 0) -> Content:
    """Return the content of a prompt with shared segments and ``own`` tokens of its own behind them."""
    tokens = sum(length for _, length in segments) + own
    return content_of(Request(number, 0, tokens, 1, Attributes(segments=tuple(segments))))


class Told:
    """The ends of names as somebody knows them who is told of changes."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}

    def take(self, changes: PrefixChanges | None) -> None:
        assert changes is not None
        for name, end in changes.take():
            assert self.ends.get(name, -1) != end
            if end < 0:
                del self.ends[name]
            else:
                self.ends[name] = end

    def matched(self, asked: Content, tokens: int) -> int:
        blocks = 0
        for name, start, end in shared_ranges(asked, tokens, SIZE):
            held = self.ends.get(name, -1)
            blocks = max(blocks, min(held, end)) if held > start else blocks
            if held < end:
                break
        return blocks


def test_a_pool_tells_of_hashes_and_evictions() -> None:
    """Two blocks of one segment and one of the next are told once; those taken for others are told as gone."""
    pool = BlockPool(4, SIZE)
    pool.changes = PrefixChanges()
    asked = content((1, 8), (2, 4))
    pool.admit(0, asked, pool.match(asked, 12))
    pool.take(3)
    pool.commit(0, 12)
    one, two = (each.name for each in shared_ranges(asked, 12, SIZE))
    assert sorted(pool.changes.take()) == sorted([(one, 2), (two, 3)])
    pool.release(0, 3)
    pool.take(1)
    assert pool.changes.take() == []  # The first free block was never used.
    pool.take(2)
    assert sorted(pool.changes.take()) == sorted([(one, 1), (two, -1)])


def test_what_one_request_alone_has_is_not_told() -> None:
    """Neither its own tokens nor what stands behind them."""
    pool = BlockPool(9, SIZE)
    pool.changes = PrefixChanges()
    own = stream_of(PRIVATE_PROMPT, 5)
    asked = Content("", ((stream_of(SHARED, 1), 0, 4), (own, 4, 8), (stream_of(SHARED, 2), 8, 1 << 62)))
    pool.admit(0, asked, pool.match(asked, 20))
    pool.take(5)
    pool.commit(0, 20)
    assert [end for _, end in pool.changes.take()] == [1]


SEGMENTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 7])), min_size=1, max_size=4)


@given(st.lists(st.tuples(SEGMENTS, st.integers(0, 9), st.integers(0, 3)), max_size=30), st.booleans())
def test_who_is_told_finds_what_a_pool_finds(
    steps: list[tuple[list[tuple[int, int]], int, int]], is_restored: bool
) -> None:
    """After every admission and release the longest prefix is the same, however often the pool is asked between."""
    pool, told = BlockPool(24, SIZE), Told()
    pool.changes = PrefixChanges()
    held: list[tuple[int, int]] = []
    for number, (segments, own, leave) in enumerate(steps):
        asked = content(*segments, own=own + 1, number=number)
        tokens = sum(length for _, length in segments) + own + 1
        blocks = -(-tokens // SIZE)
        if held and leave == 0:
            pool.release(*held.pop(0))
        while pool.free_blocks < blocks:
            pool.release(*held.pop(0))
        match = pool.match(asked, tokens)
        pool.admit(number, asked, match)
        pool.take(blocks - match.blocks)
        pool.commit(number, tokens)
        held.append((number, blocks))
        if own % 2:
            told.take(pool.changes)
        if is_restored:
            pool = copied(pool)
    told.take(pool.changes)
    for segments, _, _ in steps:
        asked = content(*segments)
        tokens = sum(length for _, length in segments)
        assert told.matched(asked, tokens) == pool.match(asked, tokens + 1).blocks


@pytest.mark.parametrize("page", [1, SIZE])
@given(data=st.data())
def test_who_is_told_finds_what_a_tree_finds(page: int, data: st.DataObject) -> None:
    """After every insertion and eviction the longest prefix is that of the tree, in whole pages."""
    tree, told = RadixTree(page), Told()
    tree.changes = PrefixChanges()
    steps = data.draw(st.lists(st.tuples(SEGMENTS, st.integers(0, 20)), max_size=25))
    for number, (segments, evicted) in enumerate(steps):
        tree.insert(content(*segments, number=number), sum(length for _, length in segments))
        if evicted > 10:
            tree.evict(evicted - 10)
        told.take(tree.changes)
    for segments, _ in steps:
        asked, tokens = content(*segments), sum(length for _, length in segments)
        found = 0
        for name, start, end in shared_ranges(asked, tokens, page):
            held = told.ends.get(name, -1)
            found = max(found, min(held, end)) if held > start else found
            if held < end:
                break
        assert found * page == tree.peek(asked, tokens)
