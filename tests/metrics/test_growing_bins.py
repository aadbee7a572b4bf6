"""Bins that a run fills."""

import numpy as np

from cluster_sim.metrics.growing_bins import in_pairs, padded


def test_bins_are_lengthened_and_paired() -> None:
    """What is missing is filled; an odd last bin is paired with the fill; enough bins stay as they are."""
    bins = np.array([1, 2, 3])
    assert padded(bins, 5, 9).tolist() == [1, 2, 3, 9, 9]
    assert padded(bins, 2) is bins
    assert in_pairs(bins).sum(axis=1).tolist() == [3, 3]
    assert in_pairs(bins, 9).min(axis=1).tolist() == [1, 3]
