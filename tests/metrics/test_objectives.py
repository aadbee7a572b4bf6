"""Requests that the objectives cover, by hand."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cluster_sim.metrics.attainment import attainment
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

S = 1_000_000_000
END_S = 10


def row(
    number: int, status: str, first_s: float | None, finish_s: float | None, attributes: Attributes = NO_ATTRIBUTES
) -> RequestRow:
    """A request of 11 tokens that arrives at 0."""
    times = [-1 if time_s is None else round(time_s * S) for time_s in (first_s, finish_s)]
    return RequestRow(Request(number, 0, 10, 11, attributes), status, 0, "main", 0, 0, *times)


def found(slo: Slo, *rows: RequestRow, gaps_s: tuple[float, ...] = ()) -> dict[str, Any]:
    totals = RequestTotals(1, ["main"], slo=slo, end_ns=END_S * S)
    log = RequestLog(totals, default_model="llama")
    for each in rows:
        log.add(each)
    log.flush()
    restored = RequestTotals(1, ["main"], slo=slo, end_ns=END_S * S)
    restored.restore(totals.snapshot())
    gaps = QuantileSketch()
    gaps.add_many(np.array([round(gap_s * S) for gap_s in gaps_s], np.int64))
    return attainment(slo, restored.objectives, gaps, (0, END_S * S))


@pytest.mark.parametrize("status", ["refused", "failed", "cancelled", "shed"])
def test_lost_requests_are_worse_than_any_limit(status: str) -> None:
    """Of four requests one is lost: the median of the four is 2.5 s, the 90th percentile falls among the lost."""
    rows = [row(number, "finished", first_s, 5) for number, first_s in enumerate((1, 2, 3))]
    slo = found(Slo(ttft_p50_s=2.6, ttft_p90_s=100.0, ttft_mean_s=100.0), *rows, row(3, status, 0.1, 1))
    by_name = {entry["name"]: entry for entry in slo["limits"]}
    assert by_name["ttft_p50_s"]["value_s"] == pytest.approx(2.5)
    assert by_name["ttft_p50_s"]["is_met"]
    for name in ("ttft_p90_s", "ttft_mean_s"):
        assert (by_name[name]["value_s"], by_name[name]["verdict"]) == (None, "missed")
    assert slo["good_requests_ratio"] == 0.75


def test_requests_cut_off_count_where_they_had_passed_a_limit() -> None:
    """The run ends at 10 s.  One request has no token by then: it passed 9 s of TTFT and of E2E.  One has its first
    token at 1 s: it passed E2E only.  One got its first token at 9.5 s: it passed TTFT and E2E.  TPOT of 0.85 s is
    passed by the second, which would have to get 11 tokens within 9.5 s.
    """
    rows = [
        row(0, "finished", 1, 2),
        row(1, "unfinished", None, None),
        row(2, "unfinished", 1, None),
        row(3, "unfinished", 9.5, None),
    ]
    slo = found(Slo(ttft_p50_s=9.0, tpot_p50_s=0.85, e2e_p50_s=9.0), *rows)
    counts = [(entry["requests"], entry["cut_off_passed"], entry["cut_off_left_out"]) for entry in slo["limits"]]
    assert counts == [(3, 2, 1), (2, 1, 2), (4, 3, 0)]
    assert slo["good_requests_ratio"] == 0.25
    assert slo["left_out"] == 0


def test_requests_cut_off_early_are_left_out() -> None:
    """Two that had passed nothing are neither good nor bad."""
    rows = [row(0, "finished", 1, 2), row(1, "unfinished", 1, None), row(2, "unfinished", None, None)]
    slo = found(Slo(ttft_p99_s=60.0), *rows)
    assert (slo["is_met"], slo["good_requests_ratio"], slo["left_out"]) == (True, 1.0, 2)
    (limit,) = slo["limits"]
    assert (limit["requests"], limit["cut_off_left_out"]) == (1, 2)


def test_means_and_token_gaps_are_limited() -> None:
    """The mean of 1 and 3 s is 2 s; gaps of 0.1 and 0.3 s have a mean of 0.2 s and a median of the same."""
    slo = Slo(ttft_mean_s=2.1, itl_mean_s=0.19, itl_p50_s=0.21)
    result = found(slo, row(0, "finished", 1, 5), row(1, "finished", 3, 5), gaps_s=(0.1, 0.3))
    values = [(entry["name"], round(entry["value_s"], 6), entry["is_met"]) for entry in result["limits"]]
    assert values == [("ttft_mean_s", 2.0, True), ("itl_mean_s", 0.2, False), ("itl_p50_s", 0.2, True)]
    assert result["verdict"] == "missed"
    # A mean is no limit of one request: both are good.
    assert result["good_requests_ratio"] == 1.0


@pytest.mark.parametrize(
    "match",
    [
        {"tenant": "blue"},
        {"priority": -1},
        {"slo_class": "chat"},
        {"model": "other"},
        {"tenant": "blue", "priority": -1},
    ],
)
def test_a_class_has_limits_of_its_own(match: dict[str, Any]) -> None:
    """Requests 0 and 1 are of the class: their TTFT p99 misses 1 s, while all together keep 5 s."""
    attributes = Attributes(tenant="blue", priority=-1, slo_class="chat", model="other")
    other = Attributes(tenant="red", slo_class="batch")
    rows = [row(0, "finished", 0.5, 5, attributes), row(1, "finished", 2, 5, attributes)]
    rows += [row(2, "finished", 3, 5, other), row(3, "finished", 3, 5)]
    slo = Slo.model_validate({"ttft_p99_s": 5.0, "classes": [{"match": match, "ttft_p99_s": 1.0}]})
    result = found(slo, *rows)
    assert result["limits"][0]["is_met"]
    (chat,) = result["classes"]
    assert (chat["match"], chat["requests"], chat["is_met"], chat["good_requests_ratio"]) == (match, 2, False, 0.5)
    assert chat["limits"][0]["value_s"] == pytest.approx(1.985)
    # Good is who keeps every limit that is for it: all but request 1.
    assert (result["is_met"], result["good_requests_ratio"]) == (False, 0.75)


def test_a_class_without_requests_meets_its_limits() -> None:
    """Nobody of tenant green came, so nobody waited too long."""
    slo = Slo.model_validate({"classes": [{"match": {"tenant": "green"}, "ttft_p99_s": 1.0}]})
    result = found(slo, row(0, "finished", 3, 5))
    assert (result["is_met"], result["classes"][0]["requests"]) == (True, 0)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([{"match": {}, "ttft_p99_s": 1.0}], "needs one of tenant, model, priority and slo_class"),
        ([{"match": {"tenant": "a"}}], "has no limit"),
        ([{"match": {"tenant": "a"}, "itl_p99_s": 1.0}], "itl_p99_s"),
    ],
)
def test_classes_that_say_nothing_are_refused(classes: list[dict[str, Any]], message: str) -> None:
    """A class without a criterion or a limit is wrong input, as is one with a limit that covers no requests."""
    with pytest.raises(ValidationError, match=message):
        Slo.model_validate({"classes": classes})
