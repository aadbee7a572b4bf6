"""Evidence on a fleet: intervals of chance and of error bands, and verdicts."""

import math

import pytest

from cluster_sim.metrics.verdicts import Verdict
from tests.study.planning.plan_parts import LIMIT_S, evidence


def test_one_run_is_judged_by_its_error_band() -> None:
    """A single run has the error band as its interval: value / 1.1 to value / 0.9 with 10 %."""
    figure = evidence(3, 0.05, percent=10.0).figures[0]
    assert (figure.value_s, figure.low_s, figure.high_s) == pytest.approx((0.05, 0.05 / 1.1, 0.05 / 0.9))
    assert evidence(3, 0.095, percent=10.0).verdict is Verdict.TOO_CLOSE
    assert evidence(3, 0.12, percent=10.0).verdict is Verdict.MISSED
    assert evidence(3, 0.095).verdict is Verdict.MET


def test_all_runs_add_the_interval_of_chance() -> None:
    """With every replication made, the interval holds the runs' own spread, and the band lies around it."""
    first = evidence(3, 0.05, percent=10.0, spread=0.2).figures[0]
    found = evidence(3, 0.05, 0.052, 0.051, percent=10.0, spread=0.2)
    figure = found.figures[0]
    assert None not in (first.low_s, first.high_s, figure.low_s, figure.high_s)
    assert figure.high_s / figure.low_s > 1.1 / 0.9  # type: ignore[operator]
    assert first.high_s / first.low_s == pytest.approx(1.1 / 0.9)  # type: ignore[operator]


def test_chance_alone_asks_for_more_runs() -> None:
    """A verdict that only chance leaves open is not confirmed; one that the band leaves open is."""
    open_by_chance = evidence(3, 0.07, 0.08, 0.11, spread=0.3)
    assert open_by_chance.figures[0].is_open or open_by_chance.verdict is not Verdict.TOO_CLOSE
    banded = evidence(3, 0.098, 0.098, 0.098, percent=20.0)
    assert banded.verdict is Verdict.TOO_CLOSE
    assert banded.is_confirmed


def test_far_beyond_a_limit_one_run_is_enough() -> None:
    """A figure whose whole interval lies a quarter beyond the limit needs no further run."""
    assert evidence(1, 2 * LIMIT_S).is_confirmed
    assert not evidence(1, 1.1 * LIMIT_S).is_confirmed
    assert list(evidence(1, 1.1 * LIMIT_S).missing()) == [1, 2]


def test_lost_requests_miss_every_limit() -> None:
    """More lost requests than a limit on the 99th percentile allows: missed, with the share and the status."""
    found = evidence(1, 0.01, lost=50)
    assert found.verdict is Verdict.MISSED
    assert found.is_confirmed
    assert found.reason == "requests are lost: 5.0% are shed"
    assert math.isinf(found.ratio)


def test_a_fleet_that_cannot_run_is_missed_for_its_reason() -> None:
    """An error is the reason, and nothing more is asked for."""
    found = evidence(1)
    found.error = "does not fit"
    assert (found.verdict, found.reason, list(found.missing())) == (Verdict.MISSED, "does not fit", [])


def test_the_reason_names_figure_interval_and_limit() -> None:
    """Why a limit is not met is said with the interval."""
    assert evidence(3, 0.12, percent=10.0).reason == "TPOT p99 120 ms (109 ms to 133 ms), limit 100 ms"


def test_what_a_warm_up_hides() -> None:
    """The mean over the whole runs counts: 0.3 and 0.5 s are 0.4 s, beyond the limit of 0.1 s that 0.05 s keeps to."""
    found = evidence(3, 0.05, 0.06)
    assert found.hidden_misses == []
    for number, value_s in enumerate((0.3, 0.5)):
        found.runs[number].figures["whole_run.tpot_p99_s"] = value_s
    assert [(one.name, one.limit_s, one.value_s) for one in found.hidden_misses] == [
        ("tpot_p99_s", LIMIT_S, pytest.approx(0.4))
    ]
    assert found.hidden_misses[0].words == "TPOT p99 400 ms, limit 100 ms"
    missed = evidence(3, 0.2)
    missed.runs[0].figures["whole_run.tpot_p99_s"] = 0.3
    assert missed.hidden_misses == []
