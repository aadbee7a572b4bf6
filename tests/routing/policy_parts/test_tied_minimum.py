"""Least of many counts: the minimum after any changes, ties told apart by a draw or by the index, bounded space."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.routing.policy_parts.tied_minimum import TiedMinimum

CHANGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40)


@given(CHANGES)
def test_the_first_of_the_least(changes: list[tuple[int, int]]) -> None:
    """After any changes, with the first preferred, the answer is the lowest index of the smallest count."""
    least = TiedMinimum(5, 1, takes_first=True)
    counts = [0] * 5
    for step, (index, count) in enumerate(changes):
        least.set(index, count)
        counts[index] = count
        assert least.least(step) == counts.index(min(counts))
        assert least.least(step, [1, 3]) == (1 if counts[1] <= counts[3] else 3)


@given(CHANGES, st.integers(0, 2**40))
def test_a_draw_among_the_least(changes: list[tuple[int, int]], request_id: int) -> None:
    """The drawn index has the smallest count, and depends on the request and the counts, not on the way to them."""
    least = TiedMinimum(5, 1, takes_first=False)
    counts = [0] * 5
    for index, count in changes:
        least.set(index, count)
        counts[index] = count
    drawn = least.least(request_id)
    assert counts[drawn] == min(counts)
    another = TiedMinimum(5, 1, takes_first=False)
    for index in (4, 2, 0, 1, 3):
        another.set(index, 7)
        another.set(index, counts[index])
    assert another.least(request_id) == drawn


def test_draws_are_spread_evenly() -> None:
    """Of 4 equal counts each is drawn for about a quarter of 4,000 requests, and for all of them once it is alone."""
    least = TiedMinimum(4, 1, takes_first=False)
    drawn = Counter(least.least(request_id) for request_id in range(4000))
    assert all(900 < drawn[index] < 1100 for index in range(4))
    for index in (0, 1, 3):
        least.set(index, 1)
    assert {least.least(request_id) for request_id in range(100)} == {2}


def test_space_is_bounded() -> None:
    """A count that goes up and down above the least one leaves no trail: as many entries as counts that were in use."""
    least = TiedMinimum(3, 1, takes_first=True)
    least.set(1, 5)
    least.set(2, 5)
    for step in range(10_000):
        least.set(1, 5 + step % 3)
        assert least.least(step) == 0
    assert len(least._heap) <= 4
    least.set(0, 9)
    assert least.least(0) == 1
