"""Quantile functions: every draw is one uniform number put through one of these."""

import math
from typing import Final, Protocol

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.workload.sampling.random_streams import Floats, Ints

MOST_TOKENS: Final = 1 << 40
"""No length is longer than this: a drawn value beyond is cut, so that sums of integers never overflow."""

_LEAST_MASS: Final = 1e-12


class Quantile(Protocol):
    """A distribution, as the function from probability to value."""

    least: float
    """The least value it can give: for think times, the lookahead."""

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities, each in (0, 1)."""


class InvertibleQuantile(Quantile, Protocol):
    """A quantile function whose inverse is known, so that it can be truncated."""

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""


class Truncated:
    """A distribution conditioned on an interval: the uniform number is mapped into [F(min), F(max)]."""

    def __init__(self, whole: InvertibleQuantile, low: float | None, high: float | None) -> None:
        self._whole = whole
        self._low = -math.inf if low is None else low
        self._high = math.inf if high is None else high
        self._from = 0.0 if low is None else whole.cdf(low)
        self._mass = (1.0 if high is None else whole.cdf(high)) - self._from
        if self._mass < _LEAST_MASS:
            raise InputError(
                f"workload: a distribution has no probability between min {low} and max {high}; widen the interval"
            )
        self.least = max(whole.least, self._low)

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities of the interval."""
        inside = np.clip(self._from + self._mass * probability, 1e-300, 1.0 - 1e-16)
        return np.clip(self._whole.values(inside), self._low, self._high)


class UniformQuantile:
    """Every value between two ends is equally likely."""

    def __init__(self, low: float, high: float) -> None:
        self.least = low
        self._width = high - low

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        result: Floats = self.least + self._width * probability
        return result


class QuantileMixture:
    """Parts laid side by side on the unit interval: the rest of the uniform number draws within the part."""

    def __init__(self, weights: list[float], parts: list[Quantile]) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(weights) / sum(weights)])
        self._parts = parts
        self.least = min(part.least for part in parts)

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        chosen = np.clip(np.searchsorted(self._edges, probability, side="right") - 1, 0, len(self._parts) - 1)
        result = np.empty_like(probability)
        for index, part in enumerate(self._parts):
            rows = chosen == index
            if rows.any():
                low, high = self._edges[index], self._edges[index + 1]
                inside = np.clip((probability[rows] - low) / (high - low), 1e-16, 1.0 - 1e-16)
                result[rows] = part.values(inside)
        return result


class ValueTable:
    """Weighted values, found by search in the cumulative weights."""

    def __init__(self, values: Floats, weights: Floats | None) -> None:
        if weights is None:
            self._values, counts = np.unique(values, return_counts=True)
            weights = counts.astype(np.float64)
        else:
            order = np.argsort(values, kind="stable")
            kept = order[weights[order] > 0]
            self._values, weights = values[kept], weights[kept]
        self._edges = np.cumsum(weights) / np.sum(weights)
        self.least = float(self._values[0])

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        places = np.minimum(np.searchsorted(self._edges, probability, side="left"), len(self._values) - 1)
        result: Floats = self._values[places]
        return result


def to_tokens(values: Floats) -> Ints:
    """Round drawn values to token counts of at least 1."""
    return np.clip(np.rint(np.minimum(values, float(MOST_TOKENS))), 1, MOST_TOKENS).astype(np.int64)
