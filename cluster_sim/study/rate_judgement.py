"""Judgement of a rate by replications: within the limits, beyond them, or too close to say.

Design.  A limit on a percentile is a limit on the share of requests beyond it, of which every request that was refused,
failed, shed or cancelled is one: lost requests never make a figure better, and a rate that loses more than
``MOST_LOST_RATIO`` is missed whatever the limits are.  A first run is enough for a hopeless rate: one whose batches all
but rule the limit out, or whose queue grows at the same pace when the run is twice as long.  Any other rate is judged
by replications long enough to fill the fleet and to show no growth, and by more of them while they do not decide; runs
start from an empty fleet, so what they show of an overload only understates it.

The judgement is a generator: it yields the runs that it needs next and is sent their results, so that whoever drives
it decides where runs are made, and what is kept of them.
"""

import math
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.intervals import Estimate, mean_estimate
from cluster_sim.metrics.trend import BATCHES, Trend, trend_of
from cluster_sim.metrics.verdicts import Verdict, worst
from cluster_sim.study.limited_figures import LoadLimit
from cluster_sim.study.replications import LEAST_REPLICATIONS, Replication, Replications
from cluster_sim.study.steady_load import SteadyRun

Floats = npt.NDArray[np.float64]

MOST_LOST_RATIO: Final = 0.01
"""Share of the requests that may be lost: as many as a limit on the 99th percentile allows."""
FIRST_REQUESTS: Final = 1000
"""Requests of the first run at a rate: enough to tell a hopeless one."""
MOST_REQUESTS: Final = 100_000
"""Requests of the longest replication."""
LEAST_RESIDENCES: Final = 10.0
"""Length of a replication in times that a request is in the system: the first two fill the fleet."""
HOPELESS_CONFIDENCE: Final = 0.999
GROWTH_CONFIDENCE: Final = 0.99
GROWTH_RATIO: Final = 0.25
"""Least growth of the number in the system over a run, as a share of its mean, that counts."""
SLOWEST_FILLING: Final = 1.2
"""Growth of a run's length in residences when it has twice the requests: 2 once the fleet is full, 1 where queues grow
without bound."""
SAME_PACE: Final = 0.7
"""Share of its pace that a queue without bound keeps when runs are twice as long; one that settles loses more."""
ALONE_RATIO: Final = 0.01
"""Requests in the system on average, below which they hardly ever meet: the fleet is idle."""


class Effort(NamedTuple):
    """How much is spent on a rate at most."""

    requests: int
    """Requests of a replication, unless filling the fleet takes more."""
    replications: int


class RateJudgement(NamedTuple):
    """What is known of a rate."""

    verdict: Verdict
    is_within: bool
    """Whether the figures themselves, without their intervals, are within the limits."""
    reason: str = ""
    """Why the rate is not within them; empty if it is."""
    is_idle: bool = False
    """Whether requests hardly ever meet, so that lower rates give the same figures."""
    figures: dict[str, Estimate] = {}  # noqa: RUF012 - never written to
    """The limited figures by the names of their limits."""
    lost_ratio: float = 0.0
    replications: int = 1
    requests: int = 0
    """Requests of one replication."""


Judging = Generator[list[SteadyRun], list[Replication], RateJudgement]


def judge_rate(rate_per_s: float, limits: Sequence[LoadLimit], effort: Effort) -> Judging:
    """Judge a rate, with no more than an effort unless its queues grow."""
    pilot, hopeless = yield from _pilot(rate_per_s, limits)
    if hopeless is not None:
        return hopeless
    requests, most = max(pilot.requests, effort.requests), effort.replications
    runs: list[Replication] = [pilot] if pilot.requests >= requests else []
    wanted, last_pace = min(LEAST_REPLICATIONS, most), math.inf
    while True:
        runs += yield [SteadyRun(rate_per_s, number, requests) for number in range(len(runs), wanted)]
        found = Replications(tuple(runs))
        judgement = judged(found, limits)
        if judgement.verdict is Verdict.MISSED:
            return judgement
        if _grows(runs):
            pace = _pace(runs)
            if requests >= MOST_REQUESTS or pace > SAME_PACE * last_pace:
                return judgement._replace(verdict=Verdict.MISSED, is_within=False, reason=_growth_text(runs))
            last_pace = pace
            requests, runs, wanted = 2 * requests, [], min(LEAST_REPLICATIONS, most)
        elif judgement.verdict is Verdict.MET or len(runs) >= most or _needed(found, limits) > 2 * most:
            return judgement
        else:
            wanted = min(len(runs) + max(len(runs) // 2, 1), most)


def judged(found: Replications, limits: Sequence[LoadLimit]) -> RateJudgement:
    """Return what replications say about the limits, whatever the queues do."""
    runs = found.runs
    lost = sum(sum(run.lost.values()) for run in runs) / sum(run.requests for run in runs)
    is_idle = runs[0].requests < ALONE_RATIO * runs[0].residences
    if lost > MOST_LOST_RATIO or not any(np.isfinite(run.samples["e2e_s"]).any() for run in runs):
        return RateJudgement(Verdict.MISSED, False, _lost_text(runs), is_idle, {}, lost, len(runs), runs[0].requests)
    figures = {limit.name: estimate for limit in limits if (estimate := found.limited(limit)) is not None}
    beyond = [limit for limit in limits if limit.name in figures and figures[limit.name].value > limit.limit.limit_s]
    return RateJudgement(
        worst(found.verdict(limit) for limit in limits),
        not beyond,
        _beyond_text(beyond[0], figures[beyond[0].name].value) if beyond else "",
        is_idle,
        figures,
        lost,
        len(runs),
        runs[0].requests,
    )


def _pilot(
    rate_per_s: float, limits: Sequence[LoadLimit]
) -> Generator[list[SteadyRun], list[Replication], tuple[Replication, RateJudgement | None]]:
    """Make the first run, as long as it takes to fill the fleet; return it, and the judgement on a hopeless rate."""
    (pilot,) = yield [SteadyRun(rate_per_s, 0, FIRST_REQUESTS)]
    while True:
        hopeless = _hopeless(pilot, limits)
        if hopeless is not None or pilot.residences >= LEAST_RESIDENCES or pilot.requests >= MOST_REQUESTS:
            return pilot, hopeless
        (longer,) = yield [SteadyRun(rate_per_s, 0, 2 * pilot.requests)]
        if _is_same_pace(pilot, longer):
            judgement = judged(Replications((longer,)), limits)
            return longer, judgement._replace(verdict=Verdict.MISSED, is_within=False, reason=_growth_text([longer]))
        pilot = longer


def _hopeless(pilot: Replication, limits: Sequence[LoadLimit]) -> RateJudgement | None:
    """Return the judgement on a rate whose first run all but rules a limit out; None for others."""
    judgement = judged(Replications((pilot,)), limits)
    if not judgement.figures:
        return judgement if judgement.verdict is Verdict.MISSED else None
    for limit in limits:
        values = pilot.samples.get(limit.sample, np.empty(0))
        if limit.is_of_gaps or len(values) < BATCHES:
            continue
        kind = limit.limit
        parts, allowed = (values, kind.limit_s) if kind.is_mean else (values > kind.limit_s, 1 - kind.rank)
        means = [float(part.mean()) for part in np.array_split(parts, BATCHES)]
        if mean_estimate(means, HOPELESS_CONFIDENCE).interval.low > allowed:
            reason = _beyond_text(limit, judgement.figures[limit.name].value)
            return judgement._replace(verdict=Verdict.MISSED, is_within=False, reason=reason)
    return None


def _is_same_pace(shorter: Replication, longer: Replication) -> bool:
    """Return whether the queue of a run grows as fast as that of a run half as long: then stays grow with the run."""
    return _is_certain(trend_of(longer.present)) and longer.residences < SLOWEST_FILLING * shorter.residences


def _is_certain(trend: Trend) -> bool:
    return trend.is_growing(ratio=GROWTH_RATIO)


def _grows(runs: Sequence[Replication]) -> bool:
    """Return whether the number in the system grows over the replications, beyond chance and by enough to count."""
    slopes = [trend_of(run.present).slope for run in runs]
    return mean_estimate(slopes, GROWTH_CONFIDENCE).interval.low > 0 and _growth(runs) > GROWTH_RATIO


def _growth(runs: Sequence[Replication]) -> float:
    """Return the growth of the mean number in the system, from the first batch to the last, as a share of it."""
    return trend_of(np.mean([run.present for run in runs], axis=0)).growth_ratio


def _pace(runs: Sequence[Replication]) -> float:
    """Return by how much the number in the system grows with each request that arrives."""
    return trend_of(np.mean([run.present for run in runs], axis=0)).slope / runs[0].requests


def _needed(found: Replications, limits: Sequence[LoadLimit]) -> float:
    """Return how many replications would decide every limit that these leave open, if they went on like this."""
    needed = 0.0
    for limit in limits:
        estimate = found.limited(limit)
        if estimate is None or found.verdict(limit) is not Verdict.TOO_CLOSE:
            continue
        value, limit_s = estimate.value, limit.limit.limit_s
        end = estimate.interval.high if value <= limit_s else estimate.interval.low
        distance = abs(limit_s - value)
        ratio = abs(end - value) / distance if distance else math.inf
        needed = max(needed, len(found.runs) * ratio * ratio)
    return needed


def _beyond_text(limit: LoadLimit, value_s: float) -> str:
    name = limit.name.removesuffix("_s").replace("_", " ")
    return f"{name} is {value_s:.3g} s, above {limit.limit.limit_s:g} s"


def _growth_text(runs: Sequence[Replication]) -> str:
    return f"the number of requests in the system grows by {_growth(runs):.0%} of its mean over a run"


def _lost_text(runs: Sequence[Replication]) -> str:
    requests = sum(run.requests for run in runs)
    kinds = dict.fromkeys(kind for run in runs for kind in run.lost)
    return ", ".join(
        f"{sum(run.lost.get(kind, 0) for run in runs) / requests:.2%} of the requests are {kind}" for kind in kinds
    )
