"""Attainment of service level objectives: limits of percentiles, and the limits of one request that follow.

A study limits percentiles ("TTFT p99 at most 2 s").  A run meets a limit when that percentile does.  A request
counts as good when each of its intervals is within the limit that the study sets for the highest percentile of that
interval; the share of good requests is the attainment, their rate the goodput (DistServe's notion).
"""

from collections.abc import Mapping
from typing import Any

from cluster_sim.metrics.objectives import Limit, Slo
from cluster_sim.metrics.request_totals import RequestTotals, SloLimits
from cluster_sim.metrics.verdicts import Verdict, interval, verdict_of, worst
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.units import NS_PER_S


def request_limits(slo: Slo) -> SloLimits:
    """Return the limits of one request in ns: for each interval that of the highest percentile limited."""
    limits: dict[str, tuple[int, int]] = {}
    for limit in slo.limits():
        interval = limit.metric.removesuffix("_s")
        rank = int(limit.percentile.removeprefix("p"))
        if rank >= limits.get(interval, (0, 0))[0]:
            limits[interval] = (rank, round(limit.limit_s * NS_PER_S))
    return SloLimits(**{f"{interval}_ns": limit_ns for interval, (_, limit_ns) in limits.items()})


def limit_value_s(limit: Limit, totals: RequestTotals) -> float | None:
    """Return the percentile that ``limit`` limits, in seconds, or None if no request has that interval."""
    sketch = totals.sketches[limit.metric.removesuffix("_s")]
    if not sketch.count:
        return None
    return sketch.quantile(int(limit.percentile.removeprefix("p")) / 100) / NS_PER_S


def is_within_limit(limit: Limit, value_s: float | None) -> bool:
    """Return whether a percentile is within ``limit``; it is if no request has that interval."""
    return value_s is None or value_s <= limit.limit_s


def limit_entry(
    limit: Limit, value_s: float | None, half_width_percent: float | None, *, is_lost: bool
) -> dict[str, Any]:
    """Return a limit with its value, the band around that, and the verdict: missed whatever the value if ``is_lost``.

    A limit that no request can break is met.
    """
    metric = limit.metric.removesuffix("_s")
    band = interval(value_s, half_width_percent)
    if is_lost:
        verdict = Verdict.MISSED
    else:
        verdict = Verdict.MET if value_s is None else verdict_of(limit.limit_s, value_s, band)
    return {
        "name": f"{metric}_{limit.percentile}_s",
        "limit_s": limit.limit_s,
        "value_s": value_s,
        "low_s": None if band is None else band.low,
        "high_s": None if band is None else band.high,
        "verdict": verdict.value,
        "is_met": verdict is Verdict.MET,
    }


def attainment(
    slo: Slo, totals: RequestTotals, duration_s: float, bands_percent: Mapping[str, float | None] | None = None
) -> dict[str, Any]:
    """Return the objectives of the summary: limits with value, band and verdict, and the share of good requests.

    ``bands_percent`` has the half widths of error bands by figure.  Requests that did not finish are not good, and a
    run that finishes none meets nothing.  Without limits the verdict and the shares are None.
    """
    limits = []
    has_finished = totals.count(FINISHED) > 0
    for limit in slo.limits():
        value_s = limit_value_s(limit, totals)
        width = (bands_percent or {}).get(f"{limit.metric.removesuffix('_s')}_{limit.percentile}")
        limits.append(limit_entry(limit, value_s, width, is_lost=not has_finished))
    requests = totals.requests
    if not limits:
        return {"limits": [], "verdict": None, "is_met": None, "good_requests_ratio": None, "good_requests_per_s": None}
    good = totals.slo_met["all"]
    verdict = worst(Verdict(entry["verdict"]) for entry in limits)
    return {
        "limits": limits,
        "verdict": verdict.value,
        "is_met": verdict is Verdict.MET,
        "good_requests_ratio": good / requests if requests else None,
        "good_requests_per_s": good / duration_s if duration_s else None,
    }
