"""Indexed minimum heap: the least value's index after any changes, in bounded space."""

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.routing.indexed_heap import IndexedMinHeap


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40))
def test_least_is_the_minimum(changes: list[tuple[int, int]]) -> None:
    """After any changes the heap's least is the lowest index of the smallest value."""
    heap = IndexedMinHeap([0] * 5)
    values = [0] * 5
    for index, value in changes:
        heap.set(index, value)
        values[index] = value
        assert heap.least() == values.index(min(values))


def test_the_heap_stays_small() -> None:
    """A value that goes up and down above the least one leaves no trail: entries stay bounded, answers right."""
    heap = IndexedMinHeap([0, 5, 5])
    for step in range(10_000):
        heap.set(1, 5 + step % 3)
        assert heap.least() == 0
    assert len(heap._heap) < 200
    heap.set(0, 9)
    assert heap.least() == 1
