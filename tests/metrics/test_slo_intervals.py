"""Tests of the time over the objectives."""

import numpy as np

from cluster_sim.metrics.slo_intervals import SloIntervals

S = 1_000_000_000


def test_intervals_by_hand() -> None:
    """Of three intervals of 10 s one has 1 bad request in 4 and one 2 in 2: 20 s lie beyond a tenth, 10 beyond 1/4."""
    arrivals = np.array([0, 1, 2, 9, 10, 11, 25, 26]) * S
    is_bad = np.array([False, True, False, False, False, False, True, True])
    whole, parts = SloIntervals(), SloIntervals()
    whole.add(arrivals, is_bad)
    for part in (slice(5, 8), slice(0, 5)):
        parts.add(arrivals[part], is_bad[part])
    parts.add(arrivals[:0], is_bad[:0])
    for totals in (whole, parts):
        assert (totals.over_s(0.1), totals.over_s(0.25), totals.over_s(1.0)) == (20.0, 10.0, 0.0)
    copy = SloIntervals()
    copy.restore(parts.snapshot())
    assert copy.snapshot() == whole.snapshot()
