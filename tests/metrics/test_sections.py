"""Figures of one run with their chance, worked by hand."""

import math

import numpy as np
import pytest

from cluster_sim.metrics.sections import Sections, batches_for, difference, reach_of, sections_of


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_batches_in_the_order_of_arrival() -> None:
    """Five batches of 20 values have their own means; a value that is not there counts in none."""
    values = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 21)
    values[::21] = np.nan
    sections = sections_of(values, mean, 5)
    assert (sections.whole, sections.parts.tolist()) == (3.0, [1, 2, 3, 4, 5])
    # Mean square 10 / 4 over 5 batches; t with 4 degrees is 2.776.
    assert reach_of(sections) == pytest.approx(2.776 * math.sqrt(0.5), abs=1e-3)


def test_differences() -> None:
    """Batches that differ by the same are certain in pairs, and noise as independent runs."""
    first, second = (Sections(3.0 + own, np.arange(1.0, 6.0) + own) for own in (0.0, 0.5))
    paired = difference(first, second, are_paired=True)
    assert paired is not None
    assert paired == (0.5, (0.5, 0.5))
    unpaired = difference(first, second, are_paired=False)
    assert unpaired is not None
    assert unpaired.interval == pytest.approx((0.5 - 2.776, 0.5 + 2.776), abs=1e-3)


def test_too_few_values_say_nothing() -> None:
    """A run of 99 values has a figure without chance; one without values has none."""
    few = sections_of(np.ones(99), mean, 5)
    assert (few.whole, len(few.parts), reach_of(few)) == (1.0, 0, None)
    assert difference(few, few, are_paired=True) is None
    with pytest.raises(ValueError, match="at least one value"):
        sections_of(np.full(200, np.nan), mean, 5)


def test_high_percentiles_have_longer_batches() -> None:
    """A batch has five values beyond its percentile if the run is long enough: 2,000 are cut into 5 for a P99."""
    assert [batches_for(2000, ratio) for ratio in (1.0, 0.5, 0.1, 0.01)] == [20, 20, 20, 5]
    assert batches_for(6000, 0.01) == 12
