"""Axes of charts."""

import numpy as np
import pytest

from cluster_sim.report.page.axes import linear_axis, log_axis, time_axis


def _labels(axis: object) -> list[str]:
    return [label for _, label in axis.ticks]  # type: ignore[attr-defined]


def test_linear_axes_end_at_round_values() -> None:
    """0.3 to 9.1 is shown from 0 to 10 in steps of 2; values lie in proportion; NaN stays NaN."""
    axis = linear_axis("x", 0.3, 9.1, "{:g}".format)
    assert _labels(axis) == ["0", "2", "4", "6", "8", "10"]
    assert axis.places(np.array([0.0, 5.0, np.nan])).tolist()[:2] == [0.0, 0.5]
    assert np.isnan(axis.place(float("nan")))
    assert _labels(linear_axis("x", 0, 2, "{:g}".format, is_whole=True)) == ["0", "1", "2"]
    assert linear_axis("x", 0, 0, "{:g}".format).high > 0


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.002, 30.0, ["0.001", "0.01", "0.1", "1", "10", "100"]),
        (3.0, 40.0, ["2", "5", "10", "20", "50"]),
        (1.0, 1.0, ["1", "2"]),
        (1e-6, 1e6, ["1e-06", "0.0001", "0.01", "1", "100", "10000", "1e+06"]),
    ],
)
def test_logarithmic_axes_have_a_few_labels(low: float, high: float, labels: list[str]) -> None:
    """Powers of ten over several decades, 1, 2 and 5 over few; both ends hold the data."""
    axis = log_axis("x", low, high, "{:g}".format)
    assert _labels(axis) == labels
    assert axis.low <= low
    assert axis.high >= high
    assert 0 <= axis.place(low) <= axis.place(high) <= 1


@pytest.mark.parametrize(
    ("end_s", "labels"),
    [
        (35.0, ["0 s", "10 s", "20 s", "30 s"]),
        (3504.0, ["0 min", "20 min", "40 min"]),
        (86_400.0, ["0 h", "5 h", "10 h", "15 h", "20 h"]),
    ],
)
def test_time_is_labelled_in_its_unit(end_s: float, labels: list[str]) -> None:
    """Seconds, minutes or hours, in round steps, and the axis ends where the run does."""
    axis = time_axis("time", 0.0, end_s)
    assert _labels(axis) == labels
    assert axis.place(end_s) == 1.0
