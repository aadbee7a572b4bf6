"""Tests of the warm-up found by batch means."""

import msgpack
import numpy as np
import pytest

from cluster_sim.metrics.batch_means import BATCH_REQUESTS, MOST_BATCHES, BatchMeans, mser

S = 1_000_000_000


def test_mser_by_hand() -> None:
    """Two batches of 10 and 5 before forty that alternate between 1 and 2: cutting the first two is best."""
    settled = np.tile([1.0, 2.0], 20)
    assert mser(np.concatenate([[10.0, 5.0], settled])) == 2
    assert mser(settled) == 0


def test_mser_is_the_least_standard_error() -> None:
    """The cut is that of the definition, computed plainly."""
    means = np.random.default_rng(5).normal(size=60) + np.linspace(3, 0, 60) ** 3
    errors = [np.var(means[cut:]) / (60 - cut) for cut in range(55)]
    best = int(np.argmin(errors))
    assert mser(means) == (best if best <= 30 else None)


def test_a_run_that_never_settles_has_no_warm_up() -> None:
    """Figures that rise to the end make the best cut a late one, which says that the run is too short."""
    assert mser(np.arange(100.0) ** 2) is None


def test_the_warm_up_ends_with_an_arrival() -> None:
    """Forty requests take 9 s, the other 460 take 1 or 2 s in turn: the warm-up ends when request 40 arrives."""
    numbers = np.arange(500)
    values = np.where(numbers < 40, 9, 1 + numbers // 5 % 2) * S
    batches = BatchMeans()
    batches.add(numbers, numbers * S, values)
    assert batches.warm_up_ns() == 40 * S


def test_few_requests_tell_nothing() -> None:
    """Nineteen batches are too few."""
    batches = BatchMeans()
    numbers = np.arange(19 * BATCH_REQUESTS)
    batches.add(numbers, numbers, numbers)
    assert batches.warm_up_ns() is None


@pytest.mark.parametrize("count", [1_000, 3 * MOST_BATCHES * BATCH_REQUESTS])
def test_batches_are_bounded_and_do_not_depend_on_order(count: int) -> None:
    """However many requests come, in whatever order and portions, there are at most so many batches of equal sums."""
    random = np.random.default_rng(1)
    numbers = np.arange(count)
    arrivals, values = numbers * 1000, random.integers(-1, 50, count) * S
    ordered, shuffled = BatchMeans(), BatchMeans()
    ordered.add(numbers, arrivals, values)
    for part in np.array_split(random.permutation(count), 7):
        shuffled.add(numbers[part], arrivals[part], values[part])
        shuffled.restore(msgpack.unpackb(msgpack.packb(shuffled.snapshot())))
    assert ordered.snapshot() == shuffled.snapshot()
    assert len(ordered.counts) <= MOST_BATCHES
    assert ordered.counts.sum() == (values >= 0).sum()
