"""Verdicts on limits: bands, what lies inside them, and the worst of several."""

import pytest

from cluster_sim.hardware.predictors.error_band import BandCase, ErrorBand
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.metrics.run_summary import summarise
from cluster_sim.metrics.verdicts import (
    BANDED_FIGURES,
    Interval,
    Verdict,
    band_percent,
    figure_interval,
    interval,
    verdict_of,
    worst,
)
from tests.metrics.conftest import FinishedRun, make_run


def test_a_band_holds_what_the_prediction_may_be_off_from() -> None:
    """0.8 s is 25 % more than 0.64 s and 25 % less than 1.0667 s; without a value or an error there is no band."""
    assert interval(0.8, 25.0) == pytest.approx((0.64, 0.8 / 0.75))
    assert interval(None, 15.0) is None
    assert interval(0.8, None) is None


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(2.0, "met"), (1.2, "met"), (1.19, "too_close"), (1.0, "too_close"), (0.8, "too_close"), (0.79, "missed")],
)
def test_a_limit_inside_the_band_is_too_close(limit: float, verdict: str) -> None:
    """A value of 1 with a band from 0.8 to 1.2: the ends of the band decide, equality keeps a limit."""
    assert verdict_of(limit, 1.0, Interval(0.8, 1.2)).value == verdict


def test_without_a_band_the_value_decides() -> None:
    """Where no error is known there is no middle."""
    assert verdict_of(1.0, 1.0, None) is Verdict.MET
    assert verdict_of(1.0, 1.01, None) is Verdict.MISSED


def test_the_worst_verdict() -> None:
    """Missed before too close before met; nothing to judge is met."""
    assert worst([Verdict.MET, Verdict.MISSED, Verdict.TOO_CLOSE]) is Verdict.MISSED
    assert worst([Verdict.TOO_CLOSE, Verdict.MET]) is Verdict.TOO_CLOSE
    assert worst([]) is Verdict.MET


def _pool(band: ErrorBand) -> PoolMetadata:
    return PoolMetadata("main", "llama-3-8b", "h100-sxm", 2, 4, 3.0, "physical", kv_blocks=100, error_band=band)


def test_the_widest_band_of_the_pools_counts() -> None:
    """Of 10 and 20 % it is 20; near saturation it is that case's where wider; unknown for one pool is unknown."""
    narrow = ErrorBand(BandCase.SEEN, {"ttft_p99": 10.0}, {"ttft_p99": 30.0})
    wide = ErrorBand(BandCase.DEVICE_UNSEEN, {"ttft_p99": 20.0, "e2e_mean": 9.0}, {"ttft_p99": 15.0})
    fleet = RunMetadata("hand", 1, (_pool(narrow), _pool(wide)), Slo())
    assert band_percent(fleet, "ttft_p99", is_near_saturation=False) == 20.0
    assert band_percent(fleet, "ttft_p99", is_near_saturation=True) == 30.0
    assert band_percent(fleet, "e2e_mean", is_near_saturation=False) is None


def test_stand_ins() -> None:
    """The 95th percentile has the wider band of the 90th and the 99th, the inter-token latency that of TPOT."""
    band = ErrorBand(BandCase.SEEN, {"ttft_p90": 12.0, "ttft_p99": 10.0, "tpot_mean": 3.0, "e2e_p90": 4.0})
    found = {name: band.error_of(name, is_near_saturation=False) for name in ("ttft_p95", "itl_mean", "e2e_p95")}
    assert found == {"ttft_p95": 12.0, "itl_mean": 3.0, "e2e_p95": None}


def banded(run: FinishedRun, band: ErrorBand) -> RunMetadata:
    pool = run.metadata.pools[0]
    values = {name: getattr(pool, name) for name in pool.__dataclass_fields__} | {"error_band": band}
    return RunMetadata("hand", 1, (PoolMetadata(**values),), run.metadata.slo, 1_000_000, 1_000_000)


def test_a_run_has_the_worst_verdict_of_its_limits() -> None:
    """The median TTFT is 13 ms, a refused request being the slowest of four; with 10 % a limit of 13.5 ms is too close,
    and then the run does not meet its objectives.
    """
    run = make_run(Slo(ttft_p50_s=0.0135, tpot_p50_s=0.05))
    band = ErrorBand(BandCase.SEEN, {"ttft_p50": 10.0, "ttft_p99": 10.0, "tpot_p50": 10.0})
    summary = summarise(banded(run, band), run.records())
    ttft, tpot = summary["slo"]["limits"]
    assert (ttft["verdict"], ttft["is_met"], tpot["verdict"], tpot["is_met"]) == ("too_close", False, "met", True)
    assert ttft["value_s"] == pytest.approx(0.013)
    assert (ttft["low_s"], ttft["high_s"]) == pytest.approx((ttft["value_s"] / 1.1, ttft["value_s"] / 0.9))
    assert (summary["slo"]["verdict"], summary["slo"]["is_met"]) == ("too_close", False)
    coverage = summary["predictor_coverage"]
    assert (coverage["case"], coverage["is_near_saturation"]) == ("seen", False)
    assert set(coverage["error_band_percent"]) == set(BANDED_FIGURES)
    assert coverage["error_band_percent"]["e2e_p99"] is None
    assert figure_interval(summary, "ttft_p99", 1.0) == pytest.approx((1 / 1.1, 1 / 0.9))
