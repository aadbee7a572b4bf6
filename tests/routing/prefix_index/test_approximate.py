"""Approximate prefix index: what it finds is what a block-by-block LRU finds."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.routing.prefix_index.approximate import ApproximatePrefixIndex
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.workload.request import Attributes, Request


class SingleBlocks:
    """The index block by block."""

    def __init__(self, capacities: list[int]) -> None:
        self.capacities = capacities
        self.servers: list[OrderedDict[tuple[int, int], None]] = [OrderedDict() for _ in capacities]

    def record(self, position: int, ranges: list[BlockRange]) -> None:
        server = self.servers[position]
        for block in blocks_of(ranges):
            server.pop(block, None)
            server[block] = None
            if len(server) > self.capacities[position]:
                server.popitem(last=False)

    def matched(self, ranges: list[BlockRange]) -> list[int]:
        found = []
        for server in self.servers:
            count = 0
            for block in blocks_of(ranges):
                if block not in server:
                    break
                count += 1
            found.append(count)
        return found


def blocks_of(ranges: list[BlockRange]) -> list[tuple[int, int]]:
    return [(name, index) for name, start, end in ranges for index in range(start, end)]


def prompt(segments: list[tuple[int, int]], number: int = 0, own: int = 0) -> list[BlockRange]:
    tokens = sum(length for _, length in segments) + own
    request = Request(number, 0, tokens, 1, Attributes(segments=tuple(segments)))
    return prefix_ranges(content_of(request), tokens, 16, counts_partial=True)


def test_a_prompt_that_was_sent_is_found() -> None:
    """Six blocks and a part of one: the same prompt finds seven, one with another end the shared five."""
    index = ApproximatePrefixIndex([100, 100])
    index.record(1, prompt([(1, 80), (2, 20)]))
    assert index.matched_blocks(prompt([(1, 80), (2, 20)])).tolist() == [0, 7]
    assert index.matched_blocks(prompt([(1, 80), (3, 20)])).tolist() == [0, 5]
    assert index.matched_blocks(prompt([(1, 60)])).tolist() == [0, 3]
    assert index.matched_blocks(prompt([(2, 20)])).tolist() == [0, 0]


def test_the_first_blocks_of_a_prompt_are_the_oldest() -> None:
    """A capacity of five loses the first block of a prompt of four to a second prompt of two, and all of its prefix."""
    index = ApproximatePrefixIndex([5])
    index.record(0, prompt([(1, 64)]))
    index.record(0, prompt([(2, 32)]))
    assert index.blocks_of(0) == 5
    assert index.matched_blocks(prompt([(1, 64)])).tolist() == [0]
    assert index.matched_blocks(prompt([(2, 32)])).tolist() == [2]


def test_a_replica_joins_and_is_forgotten() -> None:
    """A new position starts with nothing; a forgotten one has nothing left."""
    index = ApproximatePrefixIndex([100])
    index.record(0, prompt([(1, 64)]))
    index.on_join(100)
    index.record(1, prompt([(1, 48)]))
    assert index.matched_blocks(prompt([(1, 64)])).tolist() == [4, 3]
    index.forget(0)
    assert index.matched_blocks(prompt([(1, 64)])).tolist() == [0, 3]
    assert index.blocks_of(0) == 0


SEGMENTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([5, 16, 40])), min_size=0, max_size=4)


@given(
    st.lists(st.integers(1, 14), min_size=1, max_size=3),
    st.lists(st.tuples(SEGMENTS, st.integers(0, 20), st.integers(0, 2)), max_size=25),
)
def test_runs_are_as_single_blocks(capacities: list[int], sent: list[tuple[list[tuple[int, int]], int, int]]) -> None:
    """Every match, and the number of blocks kept, is that of a list of single blocks."""
    index, blocks = ApproximatePrefixIndex(capacities), SingleBlocks(capacities)
    for number, (segments, own, drawn) in enumerate(sent):
        ranges = prompt(segments, number, own + 1)
        assert index.matched_blocks(ranges).tolist() == blocks.matched(ranges)
        position = drawn % len(capacities)
        index.record(position, ranges)
        blocks.record(position, ranges)
        assert [index.blocks_of(place) for place in range(len(capacities))] == [len(s) for s in blocks.servers]
