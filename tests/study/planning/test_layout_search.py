"""Search of a layout's smallest size that meets the limits."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet
from cluster_sim.study.planning.layout_search import LayoutSearch
from tests.study.planning.plan_parts import LAYOUT, LIMIT_S, LIMITS, replication


class World:
    """Fleets whose figure falls with their size, and the runs that a search made of them."""

    def __init__(self, load: float, floor_s: float = 0.0) -> None:
        self.load = load
        self.floor_s = floor_s
        self.fleets: dict[int, FleetEvidence] = {}
        self.runs: list[tuple[int, int]] = []

    def evidence_of(self, fleet: Fleet) -> FleetEvidence:
        return self.fleets.setdefault(fleet.size, FleetEvidence(fleet, LIMITS, 3))

    def value_s(self, size: int, number: int) -> float:
        return max(self.floor_s, LIMIT_S * self.load / size * (1 + 0.01 * number))

    def solve(self, search: LayoutSearch, most: int) -> int | None:
        for _ in range(200):
            wanted = search.wanted(most)
            if not wanted:
                return search.answer.fleet.size if search.answer else None
            found, number = wanted[0]
            assert number not in found.runs
            assert found.fleet.size <= most
            found.runs[number] = replication(self.value_s(found.fleet.size, number), number)
            self.runs.append((found.fleet.size, number))
        raise AssertionError("the search does not end")


@settings(max_examples=60)
@given(st.floats(0.3, 40), st.integers(1, 60))
def test_the_smallest_size_is_found_from_any_start(load: float, start: int) -> None:
    """Whatever the estimate, the answer is the smallest size within the limit, and its neighbour is known."""
    world = World(load)
    answer = world.solve(LayoutSearch(LAYOUT, start, world.evidence_of), 1000)
    assert answer == math.ceil(load * 1.02 - 1e-9) or answer == math.ceil(load * 1.03)
    assert answer is not None
    assert world.fleets[answer].is_confirmed
    if answer > 1:
        assert not world.fleets[answer - 1].is_met


def test_a_good_estimate_costs_few_runs() -> None:
    """From the right size on: three runs of the answer, and three of the size below, which is close."""
    world = World(4.6)
    assert world.solve(LayoutSearch(LAYOUT, 5, world.evidence_of), 100) == 5
    assert sorted(world.runs) == [(4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2)]


def test_no_size_beyond_the_most_is_tried() -> None:
    """A layout that would need more than is allowed has one run, at the most."""
    world = World(9.0)
    assert world.solve(LayoutSearch(LAYOUT, 8, world.evidence_of), 3) is None
    assert world.runs == [(3, 0)]
    assert LayoutSearch(LAYOUT, 8, World(1).evidence_of).wanted(0) == []


def test_sizes_that_change_nothing_end_the_search() -> None:
    """A figure that twice the replicas leave as it is does not fall any more."""
    world = World(1.0, floor_s=1.5 * LIMIT_S)
    assert world.solve(LayoutSearch(LAYOUT, 1, world.evidence_of), 1000) is None
    assert max(size for size, _ in world.runs) <= 3


@pytest.mark.parametrize("most", [5, 8])
def test_more_may_be_allowed_later(most: int) -> None:
    """A search that ended at a bound goes on when the bound rises."""
    world = World(4.6)
    search = LayoutSearch(LAYOUT, 3, world.evidence_of)
    assert world.solve(search, 3) is None
    assert world.solve(search, most) == 5
