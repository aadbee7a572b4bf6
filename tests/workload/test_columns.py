"""Requests as columns."""

import numpy as np

from cluster_sim.workload.columns import Columns, concatenate, sort_by_arrival


def test_sorting_is_stable() -> None:
    """Equal times keep their order."""
    block = Columns(np.array([5, 3, 3]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    assert sort_by_arrival(block).prompt_tokens.tolist() == [2, 3, 1]
    assert len(concatenate([])) == 0
