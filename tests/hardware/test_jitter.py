"""Jitter: a pure function of its key, of the stated mean and deviation, bounded by the floor of the protocol."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.hardware.jitter import Jitter, least_factor


@given(
    ratio=st.floats(0, 0.3),
    seed=st.integers(0, 2**63),
    first=st.integers(0, 10**9),
    durations=st.lists(st.integers(5_000, 10**9), min_size=1, max_size=30),
)
def test_runs_equal_single_draws(ratio: float, seed: int, first: int, durations: list[int]) -> None:
    """Noise depends on the step's number alone, so any grouping gives the same bytes, none below the floor."""
    jitter = Jitter(ratio, seed, 3, 1)
    array = np.array(durations, dtype=np.int64)
    run = jitter.apply(array, first).tolist()
    assert run == [jitter.apply_one(ns, first + index) for index, ns in enumerate(array.tolist())]
    assert run[1:] == jitter.apply(array[1:], first + 1).tolist()
    assert min(run) >= int(5_000 * least_factor(ratio))


@pytest.mark.parametrize("ratio", [0.05, 0.3])
def test_mean_and_deviation_are_the_stated_ones(ratio: float) -> None:
    """200,000 draws of the shortest step have the stated mean and deviation: no draw is cut at the floor."""
    durations = np.full(200_000, 10_000_000, dtype=np.int64)
    noisy = Jitter(ratio, 42, 0, 0).apply(durations, 0)
    assert abs(noisy.mean() / 1e7 - 1) < 0.01 * ratio
    assert abs(noisy.std() / 1e7 / ratio - 1) < 0.01
    assert noisy.min() >= int(1e7 * least_factor(ratio))


def test_bound() -> None:
    """A deviation of 0.3 shortens a step to 0.7354 of its mean at most: 1 - 0.25 x 0.3 x sqrt(112) / 3."""
    assert least_factor(0.3) == pytest.approx(0.73542, abs=1e-5)


def test_replicas_stages_and_seeds_draw_apart() -> None:
    """The noise of another replica, stage or seed is uncorrelated."""
    durations = np.full(100_000, 10_000_000, dtype=np.int64)
    noisy = Jitter(0.05, 42, 0, 0).apply(durations, 0)
    for other in (Jitter(0.05, 42, 1, 0), Jitter(0.05, 42, 0, 1), Jitter(0.05, 43, 0, 0)):
        correlation = np.corrcoef(noisy, other.apply(durations, 0))[0, 1]
        assert abs(correlation) < 0.02


def test_none_by_default() -> None:
    """Ratio 0 changes nothing."""
    assert Jitter(0.0, 1, 0, 0).apply_one(123, 7) == 123
