"""Learning of error bands: widths and counts by hand."""

import pytest

from cluster_sim.hardware.predictors.calibration_file import Provenance
from cluster_sim.hardware.predictors.error_band_file import LearntBands
from validation.bands import LeftOut, band_of, coverage_lines, held_ratio, learn


def left_out(predicted: float, number: int = 0, case: str = "seen", figure: str = "ttft_mean") -> LeftOut:
    return LeftOut(case, figure, f"run {number}", 1.0, predicted)


def test_a_band_is_the_90th_percentile_of_the_errors() -> None:
    """Of eleven predictions from 0.90 to 1.00 of a measured 1 the 90th percentile is 9 %, which holds ten of them."""
    band = band_of([left_out(1 - step / 100) for step in range(11)], 0.9)
    assert band is not None
    assert band.error_percent == pytest.approx(9.0, abs=0.011)
    assert (band.values, band.held) == (11, 10)


def test_errors_above_100_percent_make_no_band() -> None:
    """A prediction of three times the measured value leaves what may be measured unbounded."""
    assert band_of([left_out(3.0) for _ in range(9)], 0.9) is None


def test_few_values_make_no_band() -> None:
    """Five values are none, six are; cases and figures stand apart."""
    five, six = [left_out(1.1) for _ in range(5)], [left_out(1.2, figure="e2e_mean") for _ in range(6)]
    bands = learn([*five, *six, left_out(1.3, case="device_unseen")], 0.9)
    assert {case: set(figures) for case, figures in bands.items()} == {"seen": {"e2e_mean"}}
    assert held_ratio([*five, *six], bands) == (6, 6)


def test_coverage_is_stated_by_case_and_without_the_run_itself() -> None:
    """Ten runs 1 to 10 % too low: the 90th percentile, 9.1 %, holds nine; without the run itself eight."""
    values = [left_out(1 - step / 100, step) for step in range(1, 11)]
    learnt = LearntBands(
        name="bands",
        provenance=Provenance(data="by hand", command="none"),
        stated_ratio=0.9,
        cases=learn(values, 0.9),
        engine_unseen=(),
    )
    lines = coverage_lines(values, learnt)
    assert lines[0] == "all left-out runs: 90.0% of 10 values, 10 runs"
    assert lines[-1] == "bands learnt without the run itself: 80.0% of 10 values"
