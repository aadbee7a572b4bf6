"""The trend of batches."""

import numpy as np
import pytest

from cluster_sim.metrics.trend import Trend, trend_of


def test_a_line_and_its_error_by_hand() -> None:
    """Means 1, 2, 4 have the slope 1.5, residuals 1/6, -1/3, 1/6, and an error of sqrt(1/6 / 1 / 2)."""
    trend = trend_of(np.array([1.0, 2.0, 4.0]))
    assert trend.slope == pytest.approx(1.5)
    assert trend.error == pytest.approx((1 / 12) ** 0.5)
    assert trend.growth_ratio == pytest.approx(3.0 / (7 / 3))


def test_growth_must_be_certain_and_large() -> None:
    """Both the slope over its error and the growth over the mean count."""
    assert Trend(4.0, 1.0, 0.3).is_growing()
    assert not Trend(3.0, 1.0, 0.3).is_growing()
    assert not Trend(4.0, 1.0, 0.2).is_growing()
    assert Trend(3.0, 1.0, 0.2).is_growing(2.306, 0.1)
