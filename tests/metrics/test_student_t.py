"""Quantiles of Student's t against printed tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.metrics.student_t import central_probability, student_t


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (4, 0.95, 2.776), (9, 0.95, 2.262), (9, 0.99, 3.250), (30, 0.9, 1.697)],
)
def test_tables(degrees: int, confidence: float, quantile: float) -> None:
    """Quantiles are those of the tables, to their last digit."""
    assert student_t(degrees, confidence) == pytest.approx(quantile, abs=5e-4)


@given(degrees=st.integers(1, 300), confidence=st.floats(0.01, 0.999))
def test_inverse(degrees: int, confidence: float) -> None:
    """The quantile has the probability that it was asked for."""
    assert central_probability(student_t(degrees, confidence), degrees) == pytest.approx(confidence, abs=1e-9)


def test_many_degrees_and_wrong_ones() -> None:
    """Many degrees give the normal quantile; none, or a confidence that is no probability, are refused."""
    assert student_t(5000) == pytest.approx(1.95996, abs=1e-4)
    for degrees, confidence in ((0, 0.95), (3, 1.0), (3, 0.0)):
        with pytest.raises(ValueError, match="degrees must be at least 1"):
            student_t(degrees, confidence)
