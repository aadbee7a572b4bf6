"""Tests of iterations counted by interval."""

import numpy as np

from cluster_sim.recording.interval_bins import IntervalBins


def _array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_intervals_are_closed_at_their_end() -> None:
    """An iteration that ends at a tick belongs to the interval before it."""
    bins = IntervalBins(10)
    bins.add_steps(_array(1, 10, 11), _array(5, 0, 7), _array(1, 2, 3))
    assert bins.take(_array(10, 20)).tolist() == [[2, 1], [5, 7], [3, 3]]


def test_runs_are_cut_at_ticks() -> None:
    """A run over several intervals gives each its own iterations and tokens, runs of different weight too."""
    bins = IntervalBins(10)
    bins.add_runs(_array(4, 8, 12, 16, 30, 31), _array(4, 2), _array(3, 2))
    assert bins.take(_array(10, 20, 30, 40)).tolist() == [[2, 2, 1, 1], [0, 0, 0, 0], [6, 6, 2, 2]]


def test_taken_intervals_are_forgotten_and_gaps_filled() -> None:
    """Skipped ticks fall to the next one taken; what comes late for a taken interval is not lost."""
    bins = IntervalBins(10)
    bins.add_steps(_array(5, 15, 25), _array(1, 1, 1), _array(0, 0, 0))
    assert bins.take(_array(20))[0].tolist() == [2]
    bins.add_steps(_array(12), _array(4), _array(0))
    assert bins.take(_array(30, 60))[1].tolist() == [5, 0]


def test_snapshot_restores_the_bins() -> None:
    """Bins taken back from a snapshot answer alike."""
    bins, copy = IntervalBins(10), IntervalBins(10)
    bins.add_steps(_array(5, 35), _array(1, 2), _array(3, 4))
    bins.take(_array(10))
    copy.restore(bins.snapshot())
    assert copy.take(_array(40)).tolist() == bins.take(_array(40)).tolist() == [[1], [2], [4]]
