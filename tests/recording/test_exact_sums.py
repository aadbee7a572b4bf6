"""Sums beyond 64 bits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.recording.exact_sums import exact_sum, sums_by_group

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, (1 << 62) - 1)), max_size=50)


@given(ROWS)
def test_sums_are_those_of_pythons_integers(rows: list[tuple[int, int]]) -> None:
    """Over all values and by group, also where the sum leaves 64 bits."""
    groups = np.array([group for group, _ in rows], np.int64)
    values = np.array([value for _, value in rows], np.int64)
    assert exact_sum(values) == sum(value for _, value in rows)
    high, low = sums_by_group(groups, values, 6)
    for group in range(6):
        total = sum(value for own_group, value in rows if own_group == group)
        assert (int(high[group]) << 32) + int(low[group]) == total
