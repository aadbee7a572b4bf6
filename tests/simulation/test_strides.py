"""Tests of the strides of runs that are watched."""

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.simulation.strides import FIRST_NS, Strides


def test_strides_take_about_a_pause() -> None:
    """A stride that is over at once is doubled, one that takes too long is halved, and one under way goes on."""
    strides = Strides()
    first = instant(FIRST_NS, Kind.RUN_END)
    assert strides.limit(0, 10.0, 0.1) == (first, True)
    assert strides.limit(first - 1, 10.0, 0.1) == (first, False)
    second, is_new = strides.limit(first, 10.01, 0.1)
    assert (second, is_new) == (instant(3 * FIRST_NS, Kind.RUN_END), True)
    assert strides.limit(second, 10.2, 0.1) == (instant(5 * FIRST_NS, Kind.RUN_END), True)
    assert strides.limit(instant(5 * FIRST_NS, Kind.RUN_END), 11.2, 0.1) == (instant(6 * FIRST_NS, Kind.RUN_END), True)


def test_idle_time_passes_fast() -> None:
    """A year in which nothing happens is a few dozen strides."""
    strides, reached, count = Strides(), 0, 0
    while reached < instant(365 * 86_400 * FIRST_NS, Kind.RUN_END):
        reached, _ = strides.limit(reached, 0.0, 0.1)
        count += 1
    assert count < 40
