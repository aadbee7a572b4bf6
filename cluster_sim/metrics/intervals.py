"""Confidence intervals of means, of differences, and of quantiles of independent values.

A value that is infinite (a lost request is infinitely late) makes a mean infinite and its interval unknown.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.student_t import CONFIDENCE, student_t
from cluster_sim.metrics.verdicts import Interval

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """An estimated figure with its confidence interval, in the figure's unit."""

    value: float
    interval: Interval
    """Infinite at an end that the data leave open."""

    @property
    def half_width_ratio(self) -> float:
        """Half of the interval's width over the figure; 0 if both are 0."""
        half = (self.interval.high - self.interval.low) / 2
        return half / abs(self.value) if self.value else (math.inf if half else 0.0)

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0: a difference that is more than noise."""
        return not self.interval.low <= 0.0 <= self.interval.high


def mean_estimate(values: Sequence[float] | Floats, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of independent values with Student's interval; one value leaves both ends open.

    Raises ValueError if there are none.
    """
    array = np.asarray(values, np.float64)
    if not len(array):
        raise ValueError("an estimate needs at least one value")
    mean = float(array.mean())
    if len(array) == 1 or not math.isfinite(mean):
        return Estimate(mean, Interval(-math.inf, math.inf))
    return _around(mean, float(array.var(ddof=1)) / len(array), len(array) - 1, confidence)


def paired_difference(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the mean of ``second - first`` over pairs of runs that share their random numbers."""
    return mean_estimate(np.asarray(second, np.float64) - np.asarray(first, np.float64), confidence)


def unpaired_difference(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the difference of the means of independent runs, ``second`` less ``first``, with Welch's interval.

    The degrees of freedom (Welch, 1947) are rounded down.
    """
    arrays = [np.asarray(values, np.float64) for values in (first, second)]
    if not all(map(len, arrays)):
        raise ValueError("an estimate needs at least one value on each side")
    difference = float(arrays[1].mean() - arrays[0].mean())
    if min(map(len, arrays)) == 1 or not math.isfinite(difference):
        return Estimate(difference, Interval(-math.inf, math.inf))
    parts = [float(array.var(ddof=1)) / len(array) for array in arrays]
    variance = sum(parts)
    spread = sum(part * part / (len(array) - 1) for part, array in zip(parts, arrays, strict=True))
    return _around(difference, variance, max(1, int(variance * variance / spread)) if spread else 1, confidence)


def ratio_of_variances(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how many times fewer pairs than independent runs give a difference of the same precision.

    That is (var(first) + var(second)) / var(second - first); infinite if all pairs differ by the same.
    """
    one, other = (np.asarray(values, np.float64) for values in (first, second))
    paired = float((other - one).var(ddof=1))
    return (float(one.var(ddof=1)) + float(other.var(ddof=1))) / paired if paired else math.inf


def order_statistics_estimate(values: Floats, rank: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return a quantile of independent values with its interval by binomial order statistics.

    The number of values at or below the true quantile is binomial, so two of the sorted values hold it with at least
    ``confidence`` whatever the distribution is; an end that no value bounds is infinite.
    """
    ordered = np.sort(values)
    count = len(ordered)
    if not count:
        raise ValueError("an estimate needs at least one value")
    first, cumulative = _binomial(count, rank)
    miss = (1 - confidence) / 2
    # P(B < low) <= miss for the largest such low, and P(B >= high) <= miss for the smallest such high.
    low = first + int(np.searchsorted(cumulative, miss, side="right"))
    high = first + int(np.searchsorted(cumulative, 1 - miss, side="left")) + 1
    value = float(ordered[max(math.ceil(count * rank) - 1, 0)])
    return Estimate(
        value,
        Interval(
            float(ordered[low - 1]) if low >= 1 else -math.inf, float(ordered[high - 1]) if high <= count else math.inf
        ),
    )


def _around(value: float, variance: float, degrees: int, confidence: float) -> Estimate:
    reach = student_t(degrees, confidence) * math.sqrt(variance)
    return Estimate(value, Interval(value - reach, value + reach))


def _binomial(count: int, rank: float) -> tuple[int, Floats]:
    """Return the distribution function of the binomial (count, rank) around its mean, from the first number on."""
    deviation = math.sqrt(count * rank * (1 - rank)) + 1
    first = max(0, math.floor(count * rank - 12 * deviation))
    last = min(count, math.ceil(count * rank + 12 * deviation))
    numbers = np.arange(first, last)
    steps = np.log((count - numbers) / (numbers + 1)) + math.log(rank / (1 - rank))
    logarithms = np.concatenate([[0.0], np.cumsum(steps)])
    masses = np.exp(logarithms - logarithms.max())
    return first, np.cumsum(masses / masses.sum())
