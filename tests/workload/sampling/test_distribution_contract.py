"""The contract of every distribution."""

from pathlib import Path

import numpy as np
import pytest

from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions, build_quantile
from cluster_sim.workload.sampling.quantile import Quantile, Truncated
from tests.parts import every_name, example_block, example_options

PROBABILITIES = (np.arange(2_000) + 0.5) / 2_000
FAR = np.array([2.0**-54, 1e-9, 1.0 - 1e-9, 1.0 - 2.0**-53])


def quantile(name: str, folder: Path) -> Quantile:
    return build_quantile(example_options(DISTRIBUTIONS, name, folder))  # type: ignore[arg-type]


@every_name(DISTRIBUTIONS)
def test_values_are_finite_and_at_least_the_least(name: str, tmp_path: Path) -> None:
    """Whatever the probability, a value is a finite number and not below ``least``: lookahead rests on that."""
    drawn = quantile(name, tmp_path)
    for probability in (PROBABILITIES, FAR):
        values = drawn.values(probability)
        assert values.dtype == np.float64
        assert values.shape == probability.shape
        assert np.isfinite(values).all()
        assert values.min() >= drawn.least


@every_name(DISTRIBUTIONS)
def test_a_value_depends_on_its_probability_alone(name: str, tmp_path: Path) -> None:
    """Drawing in pieces, and in another order, gives the same values; what is handed in is not changed."""
    drawn = quantile(name, tmp_path)
    given = PROBABILITIES.copy()
    whole = drawn.values(given)
    assert np.array_equal(given, PROBABILITIES)
    pieces = np.concatenate([drawn.values(part) for part in np.array_split(PROBABILITIES, 7)])
    assert np.array_equal(pieces, whole)
    assert np.array_equal(drawn.values(PROBABILITIES[::-1].copy()), whole[::-1])


@pytest.mark.parametrize(
    "name", [entry.name for entry in DISTRIBUTIONS.entries() if issubclass(entry.options, TruncatableOptions)]
)
def test_truncation_keeps_to_the_interval(name: str, tmp_path: Path) -> None:
    """A distribution that may be truncated lies between any min and max that have probability between them."""
    options = example_options(DISTRIBUTIONS, name, tmp_path)
    low, high = np.quantile(quantile(name, tmp_path).values(PROBABILITIES), [0.25, 0.75]).tolist()
    bounds = {"min": low, "max": high}
    truncated = build_quantile(type(options).model_validate(example_block(DISTRIBUTIONS, name) | bounds))
    assert isinstance(truncated, Truncated)
    values = truncated.values(PROBABILITIES)
    assert low <= values.min() < values.max() <= high
    assert truncated.least == low
