"""Bounds by hand: a batch takes at least 10 ns and the way back 3 ns."""

from dataclasses import dataclass, field

from cluster_sim.engine.bounds import Bounds
from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant

FLOORS = FloorModel(10, 10, is_overlapped=False)


def response(at_ns: int) -> Instant:
    return instant(at_ns, Kind.RESPONSE)


def test_a_dispatch_needs_its_own_batches() -> None:
    """Of 4 batches delivered at 102 and 1 delivered at 140 the second may answer first, at 140 + 10 + 3."""
    bounds = Bounds({1: (FLOORS, 3)})
    assert bounds.smallest() == NEVER
    bounds.send(1, 1, 102, 4)
    assert bounds.smallest() == response(145)
    bounds.send(1, 1, 140, 1)
    assert bounds.smallest() == response(145)
    bounds.send(1, 1, 120, 1)
    assert bounds.smallest() == response(133)


def test_a_message_that_causes_nothing_ends_the_conditional_promise() -> None:
    """C = 500 holds until a cancellation arrives at 102; from then on U = 300 does, and before 102 + 13 nothing."""
    bounds = Bounds({1: (FLOORS, 3)})
    bounds.acknowledge(1, 1, response(500), response(300))
    assert bounds.smallest() == response(500)
    bounds.send(1, 2, 102, 0)
    assert bounds.smallest() == response(300)
    bounds.acknowledge(1, 2, response(500), response(20))
    bounds.send(1, 3, 102, 0)
    assert bounds.smallest() == response(115)


def test_the_tightest_leaf_is_named() -> None:
    """Bounds rise with output times, and the smallest is never one that has changed since."""
    bounds = Bounds({1: (FLOORS, 3), 2: (FLOORS, 3)})
    bounds.send(1, 1, 100, 1)
    bounds.send(2, 1, 200, 1)
    assert bounds.tightest() == (1, response(113))
    bounds.acknowledge(1, 1, response(400), response(400))
    assert (bounds.smallest(), bounds.tightest()) == (response(213), (2, response(213)))
    bounds.acknowledge(2, 1, NEVER, NEVER)
    assert bounds.smallest() == response(400)


@dataclass(frozen=True, slots=True)
class CountedFloors(FloorModel):
    """Floors that note how often they are asked."""

    asked: list[int] = field(default_factory=list)

    def cost_ns(self, batches: int) -> int:
        self.asked.append(batches)
        return FloorModel.cost_ns(self, batches)


def test_a_send_costs_the_same_however_many_are_unacknowledged() -> None:
    """500 dispatches at once, which arrive ever earlier, ask for 500 costs; a reply asks for none again."""
    floors = CountedFloors(10, 10, False)
    bounds = Bounds({1: (floors, 3)})
    for number in range(500):
        bounds.send(1, number + 1, 1000 - number, 2)
        assert bounds.smallest() == response(1000 - number + 20 + 3)
    bounds.acknowledge(1, 498, response(5000), response(10))
    assert bounds.smallest() == response(501 + 10 + 3)
    assert len(floors.asked) == 500
