"""Scaling of figures to scores."""

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.endpoint_picker.endpoints import Scores


def fewest_first(figures: NDArray[np.int64]) -> Scores:
    """Return (max - figure) / (max - min) for each endpoint; all 1 where the figures are equal."""
    most = figures.max()
    span = most - figures.min()
    if not span:
        return np.ones(len(figures))
    result: Scores = (most - figures) / span
    return result
