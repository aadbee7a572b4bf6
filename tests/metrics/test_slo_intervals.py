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
        assert [totals.over_s(ratio, (0, 30 * S)) for ratio in (0.1, 0.25, 1.0)] == [20.0, 10.0, 0.0]
        assert totals.over_s(0.1, (0, 26 * S)) == 16.0, "the last interval is cut at the end of the run"
        assert totals.over_s(0.1, (4 * S, 30 * S)) == 16.0, "the first one at the start of the window"
        assert totals.over_s(0.1, (10 * S, 20 * S)) == 0.0
    copy = SloIntervals()
    copy.restore(parts.snapshot())
    assert copy.snapshot() == whole.snapshot()
