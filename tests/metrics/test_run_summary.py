"""Tests of the summary of a run."""

import json

import pytest

from cluster_sim.metrics.attainment import attainment
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.metrics.run_summary import summarise
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.workload.request import Request


def _summary(run):
    return summarise(run.metadata, run.records())


def test_latencies_by_hand(finished_run) -> None:
    """Every interval of the hand-made run has its hand-computed figures in seconds."""
    summary = _summary(finished_run)
    assert summary["ttft_s"]["count"] == 3
    assert summary["ttft_s"]["mean"] == pytest.approx((0.012 + 0.014 + 0.012) / 3)
    assert summary["ttft_s"]["p50"] == 0.012
    assert summary["ttft_s"]["max"] == 0.014
    assert summary["tpot_s"] == {
        "count": 2, "mean": 0.01, "std": 0.0, "min": 0.01, "p50": 0.01, "p90": 0.01, "p95": 0.01, "p99": 0.01,
        "max": 0.01, "exact": True,
    }  # fmt: skip
    assert summary["itl_s"]["count"] == 3
    assert summary["e2e_s"]["max"] == 0.032
    assert summary["queue_s"]["mean"] == pytest.approx((0.001 + 0.003 + 0.001) / 3)
    assert [summary["prefill_s"][figure] for figure in ("min", "mean", "max")] == [0.011, 0.011, 0.011]
    assert [summary["decode_s"][figure] for figure in ("min", "mean", "max")] == [0.0, 0.01, 0.02]
    assert [summary["inference_s"][figure] for figure in ("min", "mean", "max")] == [0.011, 0.021, 0.031]


def test_counts_cost_and_throughput_by_hand(finished_run) -> None:
    """Counts by status, GPU-hours, cost per million tokens and rates follow from the run's length of 40 ms."""
    summary = _summary(finished_run)
    assert summary["requests"] == {
        "finished": 3, "refused": 1, "failed": 0, "cancelled": 0, "shed": 0, "unfinished": 0, "total": 4,
    }  # fmt: skip
    assert summary["throughput"]["requests_per_s"] == pytest.approx(75.0)
    assert summary["throughput"]["output_tokens_per_s"] == pytest.approx(6 / 0.04)
    assert summary["gpu_hours"] == pytest.approx(8 * 0.04 / 3600)
    assert summary["cost_usd"] == pytest.approx(8 * 0.04 / 3600 * 3.0)
    assert summary["usd_per_million_output_tokens"] == pytest.approx(summary["cost_usd"] / 6 * 1e6)
    assert summary["predictor"] == "uncalibrated roofline"
    assert summary["replicas"][0]["busy_ratio"] == 0.75
    assert summary["pools"][0]["busy_ratio"] == 0.5
    assert summary["iterations"] == 4


def test_attainment_by_hand(finished_run) -> None:
    """Two of four requests are good: one misses the first-token limit, one was refused.

    The refused one is worse than any limit, and of four requests one is more than the 1 % that may be.
    """
    slo = _summary(finished_run)["slo"]
    assert [entry["name"] for entry in slo["limits"]] == ["ttft_p99_s", "tpot_p99_s"]
    assert [entry["is_met"] for entry in slo["limits"]] == [False, False]
    assert [(entry["requests"], entry["lost"], entry["value_s"]) for entry in slo["limits"]] == [
        (4, 1, None),
        (3, 1, None),
    ]
    assert slo["is_met"] is False
    assert slo["good_requests_ratio"] == 0.5
    assert slo["good_requests_per_s"] == pytest.approx(50.0)


@pytest.mark.parametrize(("status", "is_met"), [("finished", True), ("refused", False)])
def test_a_limit_that_no_request_can_break_is_met(status: str, is_met: bool) -> None:
    """One output token has no time per output token, so its limit holds; a run that finishes nothing meets nothing."""
    slo = Slo(tpot_p99_s=1.0)
    totals = RequestTotals(1, ["main"], slo=slo)
    log = RequestLog(totals)
    log.add(RequestRow(Request(0, 0, 10, 1), status, 0, "main", 0, 0, 1, 1))
    log.flush()
    found = attainment(slo, totals.objectives, QuantileSketch(), (0, 10**9))
    assert (found["limits"][0]["value_s"], found["limits"][0]["is_met"], found["is_met"]) == (None, is_met, is_met)
    assert found["good_requests_ratio"] == float(is_met)


def test_the_highest_percentile_limits_a_request() -> None:
    """A request is held to the limit of the highest percentile of each interval."""
    slo = Slo(ttft_p50_s=1.0, ttft_p99_s=2.0, e2e_p90_s=9.0)
    assert slo.request_limits_ns() == {"ttft": 2_000_000_000, "e2e": 9_000_000_000}


def test_laws_hold_by_both_records(finished_run) -> None:
    """Little's law and token conservation compare the records of the replicas with the rows of the hub."""
    checks = _summary(finished_run)["checks"]
    assert checks["little"]["holds"]
    assert checks["little"]["relative_error"] == 0.0
    assert checks["little"]["mean_in_system"] == pytest.approx((30 + 22 + 10) / 40)
    assert checks["tokens"]["relation"] == "equal"
    assert checks["tokens"]["holds"]
    assert checks["requests"] == {"arrived": 4, "rows": 4, "repeated": 0, "holds": True}


def test_a_lost_request_breaks_the_laws(finished_run) -> None:
    """A request that a replica served but no row tells of is noticed by all three checks."""
    finished_run.logs[1].enter(0)
    finished_run.logs[1].step(39_000_000, 0, 0, 10, 1)
    finished_run.arrived = 5
    checks = _summary(finished_run)["checks"]
    assert not any(checks[name]["holds"] for name in ("requests", "tokens", "little"))


def test_summary_is_plain_json(finished_run) -> None:
    """The summary survives JSON unchanged, without NaN."""
    summary = _summary(finished_run)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_empty_run_has_nulls_not_errors(finished_run) -> None:
    """A run in which nothing finished has null figures."""
    log = ReplicaLog(0)
    totals = RequestTotals(2, ["main"])
    summary = summarise(finished_run.metadata, RunRecords(totals, [log.counters()] * 2, [log.gaps()] * 2, 0, 0))
    assert summary["ttft_s"]["p99"] is None
    assert summary["usd_per_million_tokens"] is None
    assert summary["slo"]["good_requests_ratio"] is None
