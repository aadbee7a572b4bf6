"""Names of prefixes: equal names mean equal tokens, and the same blocks as the keys of single blocks."""

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.block_keys import BlockKeys
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import prefix_ranges
from cluster_sim.workload.request import Attributes, Request


def request(segments: list[tuple[int, int]], own: int = 0, lora: str = "", number: int = 0) -> Request:
    tokens = sum(length for _, length in segments) + own
    return Request(number, 0, tokens, 1, Attributes(segments=tuple(segments), lora=lora))


def blocks(made: Request, most: int = 1 << 40) -> list[tuple[int, int]]:
    ranges = prefix_ranges(content_of(made), made.prompt_tokens, 16, most_blocks=most)
    return [(name, index) for name, start, end in ranges for index in range(start, end)]


def test_blocks_belong_to_the_piece_of_their_last_token() -> None:
    """Pieces of 24 and 24 tokens: block 0 is the first's, 1 and 2 are the second's; 10 own tokens complete no block."""
    ranges = prefix_ranges(content_of(request([(1, 24), (2, 24)], 10)), 58, 16)
    assert [(start, end) for _, start, end in ranges] == [(0, 1), (1, 3)]
    partial = prefix_ranges(content_of(request([(1, 24), (2, 24)], 10)), 58, 16, counts_partial=True)
    assert partial[:2] == ranges
    assert partial[2][1:] == (3, 4)


def test_adapters_share_nothing() -> None:
    """The same segments under another adapter have other names."""
    assert set(blocks(request([(1, 64)]))).isdisjoint(blocks(request([(1, 64)], lora="french")))


def test_blocks_can_be_limited() -> None:
    """Of five blocks the first three; a partial block beyond the limit does not count."""
    made = request([(1, 40), (2, 45)])
    assert blocks(made, 3) == blocks(made)[:3]
    ranges = prefix_ranges(content_of(made), 85, 16, counts_partial=True, most_blocks=5)
    assert ranges[-1].end == 5


SEGMENTS = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 40)), min_size=1, max_size=4)


@given(SEGMENTS, SEGMENTS)
def test_names_agree_where_keys_of_blocks_agree(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """Two prompts share exactly the blocks whose keys are equal."""
    made = [request(one, number=0), request(other, number=1)]
    keys = [BlockKeys(content_of(each), 16).first(each.prompt_tokens // 16) for each in made]
    named = [blocks(each) for each in made]
    shared = [len(set(keys[0]) & set(keys[1])), len(set(named[0]) & set(named[1]))]
    assert shared[0] == shared[1]
    assert [len(names) for names in named] == [each.prompt_tokens // 16 for each in made]
