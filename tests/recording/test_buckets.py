"""Tests of histogram boundaries and counting."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.recording import buckets

BOUNDS = np.array([10, 20, 50], np.int64)


def test_a_value_on_a_bound_is_within_it() -> None:
    """Buckets are closed above, as Prometheus's ``le`` says; what exceeds the last bound counts in the last slot."""
    assert buckets.count_into(BOUNDS, np.array([0, 10, 11, 20, 51])).tolist() == [2, 2, 0, 1]
    assert buckets.count_into(BOUNDS, np.array([5, 50]), np.array([3, 4])).tolist() == [3, 0, 4, 0]


def test_seconds_become_exact_nanoseconds() -> None:
    """Boundaries in seconds have no rounding error in ns."""
    assert buckets.nanoseconds((0.001, 0.3, 7680.0)).tolist() == [1_000_000, 300_000_000, 7_680_000_000_000]


@given(st.lists(st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=9), st.integers(1, 50)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_runs_count_like_their_values(runs: list[tuple[list[int], int]]) -> None:
    """Counting runs with one weight each equals counting every value with its run's weight."""
    values = np.array([value for run, _ in runs for value in run], np.int64)
    lengths = np.array([len(run) for run, _ in runs], np.int64)
    weights = np.array([weight for _, weight in runs], np.int64)
    by_run = buckets.count_runs_into(BOUNDS, values, lengths, weights)
    assert by_run.tolist() == buckets.count_into(BOUNDS, values, np.repeat(weights, lengths)).tolist()
