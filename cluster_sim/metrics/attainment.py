"""Attainment of service level objectives: each limit with its value, band and verdict, and the share of good requests.

A study limits percentiles and means ("TTFT p99 at most 2 s").  A run meets a limit when that figure does, requests that
were lost counted as worse than any limit.  A request counts as good when it finished and each of its intervals is
within the limit that the study sets for the highest percentile of that interval; the share of good requests is the
attainment, their rate the goodput (DistServe's notion).
"""

from collections.abc import Mapping
from math import isinf
from typing import Any

from cluster_sim.metrics.objective_totals import LimitTotals, ObjectiveTotals, limit_value_s
from cluster_sim.metrics.objectives import GAPS, Limit, Slo
from cluster_sim.metrics.verdicts import Verdict, interval, verdict_of, worst
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.units import NS_PER_S

Bands = Mapping[str, float | None]
"""Half widths of error bands in percent by figure, for example ``ttft_p99``."""


def is_within_limit(limit: Limit, value_s: float | None) -> bool:
    """Return whether a figure is within ``limit``; it is if no request has that interval."""
    return value_s is None or value_s <= limit.limit_s


def limit_entry(limit: Limit, value_s: float | None, error_percent: float | None, *, is_lost: bool) -> dict[str, Any]:
    """Return a limit with its value, the band around that, and the verdict: missed whatever the value if ``is_lost``.

    A limit that no request can break is met.  A value among requests that are worse than any limit is null.
    """
    if value_s is not None and isinf(value_s):
        value_s, is_lost = None, True
    band = interval(value_s, error_percent)
    if is_lost:
        verdict = Verdict.MISSED
    else:
        verdict = Verdict.MET if value_s is None else verdict_of(limit.limit_s, value_s, band)
    return {
        "name": limit.name,
        "limit_s": limit.limit_s,
        "value_s": value_s,
        "low_s": None if band is None else band.low,
        "high_s": None if band is None else band.high,
        "verdict": verdict.value,
        "is_met": verdict is Verdict.MET,
    }


def attainment(
    slo: Slo,
    totals: ObjectiveTotals,
    gaps: QuantileSketch,
    span_ns: tuple[int, int],
    bands_percent: Bands | None = None,
) -> dict[str, Any]:
    """Return the objectives of the summary.

    ``gaps`` has the gaps between tokens, ``span_ns`` is what is measured, ``bands_percent`` are the errors that decide
    the bands.  A run that finishes no request meets nothing.  Without limits the verdict and the shares are None.
    """
    bands = bands_percent or {}
    duration_s = (span_ns[1] - span_ns[0]) / NS_PER_S
    limits = _entries(totals.all, bands)
    for limit in slo.all_limits():
        if limit.metric == GAPS:
            value_s = limit_value_s(limit, gaps, 0)
            limits.append(limit_entry(limit, value_s, _width(limit, bands), is_lost=not totals.all.finished))
    classes = [_class_entry(limited, bands, duration_s) for limited in totals.classes]
    verdicts = [entry["verdict"] for entry in (*limits, *classes)]
    if not verdicts:
        return _shares(None, [], 0, 0, 0, 0.0) | {"over_s": None, "classes": []}
    decided = totals.all.requests - totals.left_out
    verdict = worst(map(Verdict, verdicts))
    shares = _shares(verdict, limits, totals.good, decided, totals.left_out, duration_s)
    return shares | {"over_s": totals.over_s(span_ns), "classes": classes}


def _class_entry(totals: LimitTotals, bands: Bands, duration_s: float) -> dict[str, Any]:
    """Return the objectives of one class; a class that has no request meets its limits."""
    assert totals.match is not None
    limits = _entries(totals, bands)
    verdict = worst(Verdict(entry["verdict"]) for entry in limits)
    decided = totals.requests - totals.left_out
    return {
        "match": totals.match.given(),
        "requests": totals.requests,
        **_shares(verdict, limits, totals.good, decided, totals.left_out, duration_s),
    }


def _entries(totals: LimitTotals, bands: Bands) -> list[dict[str, Any]]:
    """Return the limits on requests, each with the numbers of requests that it covers."""
    entries = []
    for index, limit in enumerate(totals.limits):
        sketch, worse = totals.sketches[limit.interval], totals.worse(index)
        is_lost = bool(totals.requests) and not totals.finished
        entry = limit_entry(limit, limit_value_s(limit, sketch, worse), _width(limit, bands), is_lost=is_lost)
        covered = {
            "requests": sketch.count + worse,
            "lost": totals.lost,
            "cut_off_passed": totals.passed[index],
            "cut_off_left_out": totals.cut_off - totals.passed[index],
        }
        entries.append(entry | covered)
    return entries


def _width(limit: Limit, bands: Bands) -> float | None:
    return bands.get(f"{limit.interval}_{limit.percentile}")


def _shares(
    verdict: Verdict | None, limits: list[dict[str, Any]], good: int, decided: int, left_out: int, duration_s: float
) -> dict[str, Any]:
    return {
        "limits": limits,
        "verdict": None if verdict is None else verdict.value,
        "is_met": None if verdict is None else verdict is Verdict.MET,
        "good_requests_ratio": good / decided if decided else None,
        "good_requests_per_s": good / duration_s if duration_s else None,
        "left_out": left_out,
    }
