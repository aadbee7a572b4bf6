"""Tests of requests in the system over time."""

import msgpack
import numpy as np

from cluster_sim.metrics.presence import MOST_INTERVALS, Presence

S = 1_000_000_000


def presence_of(arrivals_s: np.ndarray, stays_s: np.ndarray | float) -> Presence:
    presence = Presence()
    arrivals_ns = np.rint(arrivals_s * S).astype(np.int64)
    presence.add(arrivals_ns, arrivals_ns + np.rint(np.broadcast_to(stays_s, arrivals_s.shape) * S).astype(np.int64))
    return presence


def test_a_queue_that_grows() -> None:
    """Ten arrive each second and stay twice as long as the last ones: those in the system grow from none on.

    Linear growth from 0 to n has n over its mean of n / 2: with batch means, 9/10 of that, 180 %.
    """
    arrivals = np.arange(1000) / 10
    growth = presence_of(arrivals, 1000.0).growth_ratio(0)
    assert growth is not None
    assert 1.7 < growth < 1.9


def test_a_steady_number_does_not_grow() -> None:
    """Requests that stay 2 s each leave as many as come, once the first are through."""
    arrivals = np.sort(np.random.default_rng(2).uniform(0, 100, 2000))
    assert presence_of(arrivals, 2.0).growth_ratio(10 * S) == 0.0


def test_the_start_is_left_out() -> None:
    """Requests that stay 40 s fill the system for 40 s: growth, unless that is the warm-up."""
    presence = presence_of(np.arange(1000) / 10, 40.0)
    assert (presence.growth_ratio(0) or 0) > 0.25
    assert presence.growth_ratio(40 * S) == 0.0


def test_few_arrivals_tell_nothing() -> None:
    """99 requests are too few, as are none."""
    assert presence_of(np.arange(99) / 10, 1.0).growth_ratio(0) is None
    assert Presence().growth_ratio(0) is None


def test_intervals_are_bounded_and_do_not_depend_on_order() -> None:
    """A year of requests, in any order and portions, is counted in at most so many intervals."""
    random = np.random.default_rng(3)
    arrivals = random.integers(0, 365 * 86_400 * S, 5000)
    departures = np.where(arrivals % 3 == 0, -1, arrivals + S)
    whole, parts = Presence(), Presence()
    whole.add(arrivals, departures)
    for part in np.array_split(random.permutation(5000), 9):
        parts.add(arrivals[part], departures[part])
        parts.restore(msgpack.unpackb(msgpack.packb(parts.snapshot())))
    length = len(whole.arrivals)
    assert length <= MOST_INTERVALS
    assert whole.snapshot() == parts.snapshot()
    assert (whole.arrivals.sum(), whole.departures.sum()) == (5000, (departures >= 0).sum())
