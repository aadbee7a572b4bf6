"""Trend of a figure over the batches of a run: a straight line through their means, and how certain its slope is."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BATCHES: Final = 10
GROWTH_T: Final = 3.355
"""Student's t for 99 % in both tails together, with two degrees of freedom less than ``BATCHES``."""
GROWTH_RATIO: Final = 0.25
"""Least growth over all batches, as a share of the mean, that counts."""


class Trend(NamedTuple):
    """A line by least squares."""

    slope: float
    """Growth from one batch to the next."""
    error: float
    """Standard error of the slope."""
    growth_ratio: float
    """Growth from the first batch to the last, as a share of the mean."""

    def is_growing(self, student_t: float = GROWTH_T, ratio: float = GROWTH_RATIO) -> bool:
        """Return whether the slope is beyond chance and the growth more than ``ratio``."""
        return self.slope > student_t * self.error and self.growth_ratio > ratio


def trend_of(means: npt.NDArray[np.float64]) -> Trend:
    """Return the trend of the means of at least three equal batches, float64[batches]."""
    count = len(means)
    mean = float(means.mean())
    steps = np.arange(count) - (count - 1) / 2
    spread = float(steps @ steps)
    slope = float(steps @ means) / spread
    rest = means - mean - slope * steps
    error = (float(rest @ rest) / (count - 2) / spread) ** 0.5
    return Trend(slope, error, slope * (count - 1) / max(mean, 1e-9))
