"""Quantile functions of the configured distributions: every draw is one uniform number put through one of these."""

import math
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.workload.column_file import read_number_column
from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile
from cluster_sim.workload.sampling.normal_quantile import normal_cdf, normal_quantile
from cluster_sim.workload.sampling.options import (
    Bimodal,
    Distribution,
    Empirical,
    Exponential,
    Fixed,
    Gamma,
    Geometric,
    LogNormal,
    Mixture,
    Pareto,
    PowerLaw,
    TruncatedNormal,
    Uniform,
    Weibull,
    Zipf,
)
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


class _Fixed:
    def __init__(self, value: float) -> None:
        self.least = value

    def values(self, probability: Floats) -> Floats:
        return np.full_like(probability, self.least)


class _Uniform:
    def __init__(self, low: float, high: float) -> None:
        self.least = low
        self._width = high - low

    def values(self, probability: Floats) -> Floats:
        result: Floats = self.least + self._width * probability
        return result


class _Exponential:
    def __init__(self, mean: float) -> None:
        self.least = 0.0
        self._mean = mean

    def values(self, probability: Floats) -> Floats:
        result: Floats = -self._mean * np.log1p(-probability)
        return result

    def cdf(self, value: float) -> float:
        return -math.expm1(-value / self._mean) if value > 0 else 0.0


class _LogNormal:
    def __init__(self, mu: float, sigma: float) -> None:
        self.least = 0.0
        self._mu, self._sigma = mu, sigma

    def values(self, probability: Floats) -> Floats:
        result: Floats = np.exp(np.minimum(self._mu + self._sigma * normal_quantile(probability), 700.0))
        return result

    def cdf(self, value: float) -> float:
        if value <= 0:
            return 0.0
        distance = math.log(value) - self._mu
        if self._sigma == 0:
            return 1.0 if distance >= 0 else 0.0
        return normal_cdf(distance / self._sigma)


class _Normal:
    least = -math.inf

    def __init__(self, mu: float, sigma: float) -> None:
        self._mu, self._sigma = mu, sigma

    def values(self, probability: Floats) -> Floats:
        result: Floats = self._mu + self._sigma * normal_quantile(probability)
        return result

    def cdf(self, value: float) -> float:
        return normal_cdf((value - self._mu) / self._sigma)


class _PowerLaw:
    def __init__(self, alpha: float, low: float, high: float) -> None:
        self.least = low
        self._low, self._log_ratio, self._exponent = low, math.log(high / low), 1.0 - alpha

    def values(self, probability: Floats) -> Floats:
        span = self._exponent * self._log_ratio
        if abs(span) < 1e-9:
            return np.asarray(self._low * np.exp(probability * self._log_ratio), dtype=np.float64)
        if span > 600:
            log_x = self._log_ratio + np.log(probability) / self._exponent
        else:
            log_x = np.log1p(probability * math.expm1(span)) / self._exponent
        return np.asarray(self._low * np.exp(np.maximum(log_x, 0.0)), dtype=np.float64)


class _Pareto:
    def __init__(self, alpha: float, scale: float) -> None:
        self.least = scale
        self._alpha = alpha

    def values(self, probability: Floats) -> Floats:
        return np.asarray(
            self.least * np.exp(np.minimum(-np.log1p(-probability) / self._alpha, 600.0)), dtype=np.float64
        )

    def cdf(self, value: float) -> float:
        return 1.0 - (self.least / value) ** self._alpha if value > self.least else 0.0


class _Gamma:
    def __init__(self, shape: float, scale: float) -> None:
        self.least = 0.0
        self._unit, self._scale = GammaQuantile(shape), scale

    def values(self, probability: Floats) -> Floats:
        return self._unit.values(probability) * self._scale

    def cdf(self, value: float) -> float:
        return self._unit.cdf(value / self._scale)


class _Weibull:
    def __init__(self, shape: float, scale: float) -> None:
        self.least = 0.0
        self._shape, self._scale = shape, scale

    def values(self, probability: Floats) -> Floats:
        result: Floats = self._scale * (-np.log1p(-probability)) ** (1.0 / self._shape)
        return result

    def cdf(self, value: float) -> float:
        return -math.expm1(-((value / self._scale) ** self._shape)) if value > 0 else 0.0


class _Geometric:
    least = 1.0

    def __init__(self, continue_probability: float, most: int | None) -> None:
        self._log_p = math.log(continue_probability) if continue_probability > 0 else -math.inf
        self._most = float(most) if most is not None else math.inf

    def values(self, probability: Floats) -> Floats:
        more = np.floor(np.log1p(-probability) / self._log_p) if self._log_p > -math.inf else 0.0 * probability
        return np.asarray(np.minimum(1.0 + more, self._most), dtype=np.float64)


class _Table:
    """Weighted values by search in the cumulative weights."""

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
        places = np.minimum(np.searchsorted(self._edges, probability, side="left"), len(self._values) - 1)
        result: Floats = self._values[places]
        return result


class _Mixture:
    """Parts laid side by side on the unit interval: the rest of the uniform number draws within the part."""

    def __init__(self, weights: list[float], parts: list[Quantile]) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(weights) / sum(weights)])
        self._parts = parts
        self.least = min(part.least for part in parts)

    def values(self, probability: Floats) -> Floats:
        which = np.clip(np.searchsorted(self._edges, probability, side="right") - 1, 0, len(self._parts) - 1)
        result = np.empty_like(probability)
        for index, part in enumerate(self._parts):
            rows = which == index
            if rows.any():
                low, high = self._edges[index], self._edges[index + 1]
                inside = np.clip((probability[rows] - low) / (high - low), 1e-16, 1.0 - 1e-16)
                result[rows] = part.values(inside)
        return result


class _HasCdf(Quantile, Protocol):
    def cdf(self, value: float) -> float: ...


class _Truncated:
    """A distribution conditioned on an interval: the uniform number is mapped into [F(min), F(max)]."""

    def __init__(self, whole: _HasCdf, low: float | None, high: float | None) -> None:
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
        inside = np.clip(self._from + self._mass * probability, 1e-300, 1.0 - 1e-16)
        return np.clip(self._whole.values(inside), self._low, self._high)


def lognormal_parameters(config: LogNormal) -> tuple[float, float]:
    """Return (mu, sigma) of a lognormal given either way."""
    if config.mu is not None and config.sigma is not None:
        return config.mu, config.sigma
    assert config.mean is not None
    assert config.std is not None
    variance = math.log1p((config.std / config.mean) ** 2)
    return math.log(config.mean) - variance / 2.0, math.sqrt(variance)


def build_quantile(config: Distribution) -> Quantile:
    """Return the quantile function of a configured distribution."""
    if isinstance(config, Exponential | LogNormal | TruncatedNormal | Gamma | Weibull | Pareto):
        low = None if isinstance(config, Pareto) else config.min
        if low is None and config.max is None:
            return _whole(config)
        return _Truncated(_whole(config), low, config.max)
    return _plain(config)


def _whole(config: Exponential | LogNormal | TruncatedNormal | Gamma | Weibull | Pareto) -> _HasCdf:
    match config:
        case Exponential():
            return _Exponential(config.mean)
        case LogNormal():
            return _LogNormal(*lognormal_parameters(config))
        case TruncatedNormal():
            return _Normal(config.mu, config.sigma)
        case Gamma():
            return _Gamma(config.shape, config.scale)
        case Weibull():
            return _Weibull(config.shape, config.scale)
        case Pareto():
            return _Pareto(config.alpha, config.scale)


def _plain(
    config: Fixed | Uniform | PowerLaw | Zipf | Bimodal | Geometric | Empirical | Mixture,
) -> Quantile:
    match config:
        case Fixed():
            return _Fixed(config.value)
        case Uniform():
            return _Uniform(config.min, config.max)
        case PowerLaw():
            return _PowerLaw(config.alpha, config.min, config.max)
        case Zipf():
            values = np.arange(config.min, config.max + 1, dtype=np.float64)
            return _Table(values, values**-config.alpha)
        case Bimodal():
            modes: list[Quantile] = [
                _Uniform(config.short_min, config.short_max),
                _Uniform(config.long_min, config.long_max),
            ]
            if config.short_prob in {0.0, 1.0}:
                return modes[config.short_prob == 0.0]
            return _Mixture([config.short_prob, 1.0 - config.short_prob], modes)
        case Geometric():
            return _Geometric(config.continue_probability, config.max)
        case Empirical():
            return _empirical(config)
        case Mixture():
            return _Mixture(
                [part.weight for part in config.parts], [build_quantile(part.distribution) for part in config.parts]
            )


def _empirical(config: Empirical) -> Quantile:
    if config.values is not None:
        weights = None if config.weights is None else np.asarray(config.weights, dtype=np.float64)
        return _Table(np.asarray(config.values, dtype=np.float64), weights)
    assert config.path is not None
    assert config.column is not None
    return _Table(read_number_column(Path(config.path), config.column), None)


def to_tokens(values: Floats) -> Ints:
    """Round drawn values to token counts of at least 1."""
    return np.clip(np.rint(np.minimum(values, float(MOST_TOKENS))), 1, MOST_TOKENS).astype(np.int64)
