"""Intervals of means, differences and independent quantiles, worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.metrics.intervals import (
    mean_estimate,
    order_statistics_estimate,
    paired_difference,
    ratio_of_variances,
    unpaired_difference,
)


def test_mean() -> None:
    """Of 1, 2, 3, 4, 5: 3 with 2.776 times the root of 2.5 / 5 to both sides."""
    estimate = mean_estimate([1, 2, 3, 4, 5])
    assert estimate.value == 3
    assert estimate.interval == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-3)
    assert estimate.half_width_ratio == pytest.approx(0.6544, abs=1e-4)
    assert estimate.excludes_zero


def test_means_that_say_nothing() -> None:
    """One value, or one that is infinite, leaves both ends open; none at all is refused."""
    assert mean_estimate([2.0]) == (2.0, (-math.inf, math.inf))
    assert mean_estimate([2.0, math.inf]).interval == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one value"):
        mean_estimate([])


def test_differences() -> None:
    """Pairs that differ by 1, 1, 1, 2 are certain of it where runs that are not paired are not."""
    first, second = [10.0, 20.0, 30.0, 40.0], [11.0, 21.0, 31.0, 42.0]
    paired = paired_difference(first, second)
    assert paired.value == 1.25
    assert paired.interval == pytest.approx((1.25 - 3.182 * 0.25, 1.25 + 3.182 * 0.25), abs=1e-3)
    assert paired.excludes_zero
    unpaired = unpaired_difference(first, second)
    assert unpaired.value == 1.25
    # Variances of the means 41.667 and 44.229 with three degrees each: five after rounding down; t = 2.571.
    assert unpaired.interval.high == pytest.approx(1.25 + 2.571 * math.sqrt(41.667 + 44.229), abs=0.01)
    assert not unpaired.excludes_zero
    assert ratio_of_variances(first, second) == pytest.approx((166.667 + 176.917) / 0.25, rel=1e-3)
    assert ratio_of_variances([1, 2], [2, 3]) == math.inf


def test_order_statistics() -> None:
    """The median of 10 values lies between the 2nd and the 9th with 97.9 %, and no narrower pair reaches 95 %."""
    estimate = order_statistics_estimate(np.arange(1.0, 11.0), 0.5)
    assert estimate == (5.0, (2.0, 9.0))


def test_a_quantile_beyond_the_values() -> None:
    """Twenty values do not bound the 99th percentile from above."""
    assert order_statistics_estimate(np.arange(20.0), 0.99).interval == (18.0, math.inf)


@given(count=st.integers(2, 400), rank=st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_order_statistics_cover(count: int, rank: float) -> None:
    """Whatever the size, the probability that the two values hold the quantile is at least 95 %."""
    low, high = order_statistics_estimate(np.arange(1.0, count + 1), rank).interval
    masses = [math.comb(count, k) * rank**k * (1 - rank) ** (count - k) for k in range(count + 1)]
    first = 0 if low == -math.inf else int(low)
    last = count if high == math.inf else int(high) - 1
    assert sum(masses[first : last + 1]) >= 0.95 - 1e-9
