"""Moves of requests between replicas by hand."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.routing.recovery.migration_options import RebalanceOptions
from cluster_sim.routing.recovery.rebalancing import Movable, Move, moves


def options(**values: Any) -> RebalanceOptions:
    return RebalanceOptions.model_validate(values)


def test_the_shortest_request_goes_from_the_busiest_to_the_idlest() -> None:
    """Loads 6, 1 and 2: one request moves from 0 to 1, the one of 10 tokens."""
    movable = [Movable(7, 0, 30, 5), Movable(8, 0, 10, 1), Movable(9, 2, 1, 9)]
    assert moves(options(), {0: 6, 1: 1, 2: 2}, movable) == [Move(8, 1)]
    assert moves(options(victim="latest"), {0: 6, 1: 1, 2: 2}, movable) == [Move(7, 1)]


def test_below_the_threshold_nothing_moves() -> None:
    """A difference of 3 is below 4."""
    assert moves(options(), {0: 4, 1: 1}, [Movable(7, 0, 30, 5)]) == []
    assert moves(options(threshold=3), {0: 4, 1: 1}, [Movable(7, 0, 30, 5)]) == [Move(7, 1)]


def test_several_moves_until_the_loads_are_near() -> None:
    """Loads 8 and 0 with threshold 2: four moves make 4 and 4, shortest first."""
    movable = [Movable(number, 0, 100 + number, 0) for number in range(8)]
    assert moves(options(threshold=2, max_moves=10), {0: 8, 1: 0}, movable) == [Move(number, 1) for number in range(4)]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=6), st.integers(2, 6), st.integers(1, 20))
def test_moves_never_overshoot(loads: list[int], threshold: int, most: int) -> None:
    """Afterwards the spread is no larger, each request moved once, and none within the threshold."""
    movable = []
    for position, load in enumerate(loads):
        movable += [Movable(position * 100 + number, position, number, number) for number in range(load)]
    found = moves(options(threshold=threshold, max_moves=most), dict(enumerate(loads)), movable)
    after = list(loads)
    for move in found:
        after[move.request_id // 100] -= 1
        after[move.destination] += 1
    assert len({move.request_id for move in found}) == len(found) <= most
    assert max(after) - min(after) <= max(loads) - min(loads)
    assert len(found) == most or max(after) - min(after) < threshold
