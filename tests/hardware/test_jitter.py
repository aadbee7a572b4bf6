"""Jitter: a pure function of its key, of the stated size, never below the floor."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.hardware.jitter import Jitter


@given(
    ratio=st.floats(0, 0.3),
    seed=st.integers(0, 2**63),
    first=st.integers(0, 10**9),
    durations=st.lists(st.integers(1, 10**9), min_size=1, max_size=30),
)
def test_runs_equal_single_draws(ratio: float, seed: int, first: int, durations: list[int]) -> None:
    """Noise depends on the iteration's number alone, so any grouping gives the same bytes, none below the floor."""
    jitter = Jitter(ratio, seed, 3, 1, 5_000)
    array = np.maximum(np.array(durations, dtype=np.int64), 5_000)
    run = jitter.apply(array, first).tolist()
    assert run == [jitter.apply_one(ns, first + i) for i, ns in enumerate(array.tolist())]
    assert run[1:] == jitter.apply(array[1:], first + 1).tolist()
    assert min(run) >= 5_000


def test_size_and_independence() -> None:
    """100,000 draws have the stated deviation and no bias; replicas, stages and seeds differ."""
    durations = np.full(100_000, 10_000_000, dtype=np.int64)
    noisy = Jitter(0.05, 42, 0, 0, 1).apply(durations, 0)
    assert abs(noisy.mean() / 1e7 - 1) < 0.001
    assert abs(noisy.std() / 1e7 - 0.05) < 0.001
    assert noisy.min() >= 8_500_000
    others = [Jitter(0.05, 42, 1, 0, 1), Jitter(0.05, 42, 0, 1, 1), Jitter(0.05, 43, 0, 0, 1)]
    for other in others:
        correlation = np.corrcoef(noisy, other.apply(durations, 0))[0, 1]
        assert abs(correlation) < 0.02


def test_none_by_default() -> None:
    """Ratio 0 changes nothing."""
    assert Jitter(0.0, 1, 0, 0, 1).apply_one(123, 7) == 123
