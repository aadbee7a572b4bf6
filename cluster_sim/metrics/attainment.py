"""Attainment of service level objectives: limits of percentiles, and the limits of one request that follow.

A study limits percentiles ("TTFT p99 at most 2 s").  A run meets a limit when that percentile does.  A request
counts as good when each of its intervals is within the limit that the study sets for the highest percentile of that
interval; the share of good requests is the attainment, their rate the goodput (DistServe's notion).
"""

from typing import Any

from cluster_sim.metrics.objectives import Limit, Slo
from cluster_sim.metrics.request_totals import RequestTotals, SloLimits
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


def attainment(slo: Slo, totals: RequestTotals, duration_s: float) -> dict[str, Any]:
    """Return the objectives of the summary: each limit with its value, and the share of good requests.

    Requests that did not finish are not good, and a run that finishes none meets nothing.  Without limits ``is_met``
    and the shares are None.
    """
    limits = []
    has_finished = totals.count(FINISHED) > 0
    for limit in slo.limits():
        value_s = limit_value_s(limit, totals)
        limits.append(
            {
                "name": f"{limit.metric.removesuffix('_s')}_{limit.percentile}_s",
                "limit_s": limit.limit_s,
                "value_s": value_s,
                "is_met": has_finished and is_within_limit(limit, value_s),
            }
        )
    requests = totals.requests
    if not limits:
        return {"limits": [], "is_met": None, "good_requests_ratio": None, "good_requests_per_s": None}
    good = totals.slo_met["all"]
    return {
        "limits": limits,
        "is_met": all(entry["is_met"] for entry in limits),
        "good_requests_ratio": good / requests if requests else None,
        "good_requests_per_s": good / duration_s if duration_s else None,
    }
