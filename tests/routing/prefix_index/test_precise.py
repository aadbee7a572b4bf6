"""Precise prefix index: consecutive blocks of hundreds of replicas, from changes."""

from cluster_sim.routing.prefix_index.precise import PrecisePrefixIndex
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange

PROMPT = [BlockRange(11, 0, 4), BlockRange(12, 4, 6), BlockRange(13, 6, 9)]


def test_matches_are_consecutive() -> None:
    """A replica that misses a block in the middle matches what stands before it."""
    index = PrecisePrefixIndex(5)
    index.update(0, [(11, 4), (12, 6), (13, 8)])
    index.update(1, [(11, 3), (12, 6)])
    index.update(2, [(12, 6), (13, 9)])
    index.update(3, [(11, 7), (12, 6), (13, 12)])
    assert index.matched_blocks(PROMPT).tolist() == [8, 3, 0, 9, 0]
    index.update(0, [(12, 5), (13, -1)])
    assert index.matched_blocks(PROMPT).tolist() == [5, 3, 0, 9, 0]
    index.forget(3)
    index.on_join()
    index.update(5, [(11, 4)])
    assert index.matched_blocks(PROMPT).tolist() == [5, 3, 0, 0, 0, 4]


def test_many_replicas_are_found_at_once() -> None:
    """Three hundred replicas with one of three ends each."""
    index = PrecisePrefixIndex(300)
    for position in range(300):
        index.update(position, [(11, 1 + position % 4), (12, 6)])
    expected = [6 if position % 4 == 3 else 1 + position % 4 for position in range(300)]
    assert index.matched_blocks(PROMPT).tolist() == expected
