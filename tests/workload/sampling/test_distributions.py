"""Distributions against their closed forms."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from cluster_sim.errors import InputError
from cluster_sim.workload.sampling.distribution import Distribution, build_quantile
from cluster_sim.workload.sampling.quantile import MOST_TOKENS, to_tokens
from cluster_sim.workload.sampling.random_streams import Stream

ADAPTER: TypeAdapter[Any] = TypeAdapter(Distribution)
LOG_VARIANCE = math.log1p(0.25)


def power_law(alpha: float, low: float, high: float) -> Any:
    class _PowerLaw(stats.rv_continuous):
        def _cdf(self, x: Any) -> Any:
            if alpha == 1:
                return np.log(x / low) / math.log(high / low)
            return (x ** (1 - alpha) - low ** (1 - alpha)) / (high ** (1 - alpha) - low ** (1 - alpha))

        def _pdf(self, x: Any) -> Any:
            if alpha == 1:
                return 1 / (x * math.log(high / low))
            return (1 - alpha) * x**-alpha / (high ** (1 - alpha) - low ** (1 - alpha))

    return _PowerLaw(a=low, b=high)()


CONTINUOUS = {
    "uniform": ({"kind": "uniform", "min": 10, "max": 50}, stats.uniform(10, 40)),
    "exponential": ({"kind": "exponential", "mean": 200}, stats.expon(scale=200)),
    "lognormal mu": ({"kind": "lognormal", "mu": 5, "sigma": 0.8}, stats.lognorm(0.8, scale=math.exp(5))),
    "lognormal mean": (
        {"kind": "lognormal", "mean": 100, "std": 50},
        stats.lognorm(math.sqrt(LOG_VARIANCE), scale=100 / math.exp(LOG_VARIANCE / 2)),
    ),
    "truncated normal": (
        {"kind": "truncated_normal", "mu": 100, "sigma": 50, "min": 60, "max": 180},
        stats.truncnorm(-0.8, 1.6, 100, 50),
    ),
    "power law 1": ({"kind": "power_law", "alpha": 1, "min": 5, "max": 500}, power_law(1, 5, 500)),
    "power law 1.6": ({"kind": "power_law", "alpha": 1.6, "min": 5, "max": 500}, power_law(1.6, 5, 500)),
    "pareto": ({"kind": "pareto", "alpha": 4.5, "scale": 20}, stats.pareto(4.5, scale=20)),
    "gamma": ({"kind": "gamma", "shape": 0.7, "scale": 100}, stats.gamma(0.7, scale=100)),
    "weibull": ({"kind": "weibull", "shape": 1.4, "scale": 100}, stats.weibull_min(1.4, scale=100)),
}


def draw(config: dict[str, Any], count: int, seed: int = 11) -> Any:
    return build_quantile(ADAPTER.validate_python(config)).values(Stream(seed, "test").uniforms(0, count))


def check_continuous(name: str, count: int) -> None:
    config, truth = CONTINUOUS[name]
    values = draw(config, count)
    assert stats.kstest(values, truth.cdf).pvalue > 0.01
    spread = truth.std() / math.sqrt(count)
    assert abs(values.mean() - truth.mean()) < 4 * spread
    kurtosis = float(((values - truth.mean()) ** 4).mean() / truth.var() ** 2)
    assert abs(values.var() / truth.var() - 1) < 4 * math.sqrt(kurtosis / count)
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        density = float(truth.pdf(truth.ppf(share)))
        error = math.sqrt(share * (1 - share) / count) / density
        assert abs(np.quantile(values, share) - truth.ppf(share)) < 4 * error


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str) -> None:
    """50,000 draws match the closed form: KS at 1 %, mean, variance and five quantiles within four standard errors."""
    check_continuous(name, 50_000)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions_at_length(name: str) -> None:
    """10^6 draws match the closed form."""
    check_continuous(name, 1_000_000)


def check_discrete(values: Any, support: Any, probabilities: Any) -> None:
    counts = np.array([np.count_nonzero(values == one) for one in support])
    assert counts.sum() == len(values)
    assert stats.chisquare(counts, np.asarray(probabilities) * len(values)).pvalue > 0.01


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])
def test_discrete_distributions(count: int) -> None:
    """Zipf, geometric and weighted values have their probabilities (chi squared at 1 %)."""
    support = np.arange(2, 12)
    weights = support**-1.3
    check_discrete(draw({"kind": "zipf", "alpha": 1.3, "min": 2, "max": 11}, count), support, weights / weights.sum())
    turns = [0.3 * 0.7**k for k in range(4)] + [0.7**4]
    check_discrete(draw({"kind": "geometric", "continue_probability": 0.7, "max": 5}, count), range(1, 6), turns)
    values = {"kind": "empirical", "values": [4, 1, 9], "weights": [1, 0, 3]}
    check_discrete(draw(values, count), [4, 9], [0.25, 0.75])


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])
def test_bimodal_and_mixtures(count: int) -> None:
    """Both modes have their share and shape; a mixture of two equals the weighted sum of their distributions."""
    config = {
        "kind": "bimodal", "short_min": 10, "short_max": 50, "long_min": 500, "long_max": 900, "short_prob": 0.8,
    }  # fmt: skip
    values = draw(config, count)
    short = values[values <= 50]
    assert abs(len(short) / count - 0.8) < 4 * math.sqrt(0.16 / count)
    assert stats.kstest(short, stats.uniform(10, 40).cdf).pvalue > 0.01
    assert stats.kstest(values[values > 50], stats.uniform(500, 400).cdf).pvalue > 0.01
    parts = [
        {"weight": 1, "distribution": {"kind": "exponential", "mean": 10}},
        {"weight": 3, "distribution": {"kind": "gamma", "shape": 4, "scale": 20}},
    ]
    mixed = draw({"kind": "mixture", "parts": parts}, count)
    both = stats.expon(scale=10), stats.gamma(4, scale=20)
    assert stats.kstest(mixed, lambda x: 0.25 * both[0].cdf(x) + 0.75 * both[1].cdf(x)).pvalue > 0.01


@pytest.mark.parametrize("kind", ["exponential", "lognormal mu", "gamma", "weibull", "pareto"])
def test_truncation_conditions_and_does_not_clamp(kind: str) -> None:
    """A truncated distribution is the whole one given the interval; nothing piles up on its ends."""
    config, truth = CONTINUOUS[kind]
    low, high = float(truth.ppf(0.2)), float(truth.ppf(0.8))
    bounds = {"max": high} if kind == "pareto" else {"min": low, "max": high}
    start = float(truth.cdf(low)) if kind != "pareto" else 0.0
    values = draw({**config, **bounds}, 50_000)
    assert stats.kstest(values, lambda x: (truth.cdf(x) - start) / (0.8 - start)).pvalue > 0.01
    assert np.count_nonzero(values == values.max()) == 1


def test_degenerate_shapes() -> None:
    """Fixed values, equal ends, sigma 0 and sharp modes give what they must."""
    assert set(draw({"kind": "fixed", "value": 7}, 10)) == {7.0}
    assert set(draw({"kind": "uniform", "min": 3, "max": 3}, 10)) == {3.0}
    assert set(draw({"kind": "power_law", "alpha": 2, "min": 3, "max": 3}, 10)) == {3.0}
    assert np.allclose(draw({"kind": "lognormal", "mu": 2, "sigma": 0}, 10), math.exp(2))
    assert set(draw({"kind": "geometric", "continue_probability": 0}, 10)) == {1.0}
    one_mode = {"kind": "bimodal", "short_min": 1, "short_max": 2, "long_min": 8, "long_max": 9, "short_prob": 0}
    assert draw(one_mode, 100).min() >= 8


def test_extreme_power_laws_stay_inside() -> None:
    """Steep and rising densities neither overflow nor leave the interval."""
    for alpha in (0.0, 0.5, 30.0):
        values = draw({"kind": "power_law", "alpha": alpha, "min": 1e-3, "max": 1e9}, 1000)
        assert np.isfinite(values).all()
        assert values.min() >= 1e-3
        assert values.max() <= 1e9 * (1 + 1e-9)


def test_an_interval_without_probability_is_refused() -> None:
    """Truncating a normal 40 sigma away names the interval."""
    with pytest.raises(InputError, match="no probability between min 100"):
        draw({"kind": "truncated_normal", "mu": 0, "sigma": 1, "min": 100, "max": 101}, 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "lognormal", "mu": 1}, "either mu and sigma, or mean and std"),
        ({"kind": "uniform", "min": 5, "max": 1}, "greater than max"),
        ({"kind": "lognormal", "mean": 900, "std": 10, "max": 100}, "mean 900 is greater than max 100"),
        ({"kind": "exponential", "mean": 900, "max": 100}, "mean 900 is greater than max 100"),
        ({"kind": "truncated_normal", "mu": 5, "sigma": 1, "min": -9, "max": 0}, "max 0 must be above 0"),
        ({"kind": "truncated_normal", "mu": 5, "sigma": 1, "min": -9, "max": 9}, "min -9 must be at least 0"),
        ({"kind": "fixed", "value": 1e13}, "less than or equal to 1000000000000"),
        ({"kind": "gamma", "shape": 1e7, "scale": 1}, "less than or equal to 1000000"),
        (
            {"kind": "bimodal", "short_min": 1, "short_max": 9, "long_min": 5, "long_max": 10, "short_prob": 0.5},
            "needs",
        ),
        ({"kind": "empirical"}, "either values or path"),
        ({"kind": "empirical", "values": [1, 2], "weights": [1]}, "one weight for each of its values"),
        ({"kind": "pareto", "alpha": 1, "scale": 5, "max": 2}, "greater than max"),
        ({"kind": "gauss", "mean": 1}, "does not match any of the expected tags"),
        ({"kind": "fixed", "value": float("nan")}, "finite"),
    ],
)
def test_wrong_parameters_are_refused(config: dict[str, Any], message: str) -> None:
    """Every inconsistent distribution is refused with a reason."""
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(config)


def test_tokens_are_whole_and_bounded() -> None:
    """Rounding gives at least 1 and never more than the bound."""
    assert to_tokens(np.array([0.0, 0.4, 1.6, 1e300])).tolist() == [1, 1, 2, MOST_TOKENS]
