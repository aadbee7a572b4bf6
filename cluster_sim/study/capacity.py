"""Search of the highest load that one configuration serves within its limits, and how certain it is.

Design.  A burst of requests shows what the fleet can do at all, and the search begins a little below.  It steps up or
down until it has a rate within the limits and one beyond them, and bisects on a logarithmic scale by the figures
themselves.  From there it walks a ladder of rates with longer runs: to the two neighbouring rungs between which the
figures cross the limits, to the middle between these, and outwards to the first rates that are certainly within and
certainly beyond: they are the ends of the interval.  Every rate is judged with the same random numbers, so the
judgements change from yes to no once, up to noise.  The error band of the predictor gives a second interval, read off
the figures at the rates judged: the answers to limits that are tighter and wider by the band.

The search is a generator, as the judgement is: it yields the runs that it needs and is sent their results.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.intervals import Estimate
from cluster_sim.metrics.verdicts import Interval, Verdict
from cluster_sim.study.limited_figures import LoadLimit, load_limits
from cluster_sim.study.rate_judgement import Effort, Judging, RateJudgement, judge_rate
from cluster_sim.study.replications import Replication
from cluster_sim.study.steady_load import SteadyRun, check_rate

FOUND: Final = "found"
NONE: Final = "none"
"""Even the lowest rate tried breaks a limit."""
UNBOUNDED: Final = "unbounded"
"""Even the highest rate tried is within the limits."""

BURST_REQUESTS: Final = 1000
BURST_PER_S: Final = 1e6
"""Rate at which requests are there all at once."""
START_SHARE: Final = 0.8
"""First rate tried, as a share of what the fleet does with a burst."""
FIRST_STEP: Final = 1.3
"""First step from there; each further one is the square of the one before."""
MOST_STEP: Final = 8.0
MOST_RATES: Final = 40
"""Rates of one bracket and bisection."""
SEARCH: Final = Effort(requests=3000, replications=3)
"""For the rates of the bisection."""
SURE: Final = Effort(requests=8000, replications=5)
"""For the rungs of the ladder."""
HALF: Final = 0.5
MOST_RUNGS: Final = 12
"""Rungs walked in one direction to where the figures cross the limits."""
MOST_MOVES: Final = 5
"""Moves of growing width from there to an end of the interval."""
COARSEST_RATIO: Final = 0.05
"""Tolerances beyond it are taken as it: two rates more, for an answer that can be quoted."""


class Edge(NamedTuple):
    """Two neighbouring rates: the highest found within the limits, the lowest found beyond them."""

    good: float | None
    bad: float | None
    reason: str
    """Why the lowest rate beyond the limits is."""

    @property
    def status(self) -> str:
        """Whether there is an answer."""
        if self.good is None:
            return NONE
        return UNBOUNDED if self.bad is None else FOUND


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer: the highest rate found within the limits, how certain it is, and the fleet that serves it."""

    status: str
    rate_per_s: float | None = None
    interval: Interval | None = None
    """Rates between which the answer lies; None without an answer."""
    band: Interval | None = None
    """Rates between which the predictor's error band leaves it; None where no band is known."""
    reason: str = ""
    """What limits the load."""
    figures: dict[str, Estimate] | None = None
    """The limited figures at the answer, by the names of their limits."""
    lost_ratio: float | None = None
    summary: dict[str, float] | None = None
    """Figures of the summary of one run at the answer."""
    rates: int = 0
    """Rates judged."""


Searching = Generator[list[SteadyRun], list[Replication], Capacity]
JudgeRate = Callable[[float, Effort], Judging]
"""Judges a rate with an effort."""


def search_capacity(study: Study, tolerance_ratio: float = 0.03) -> Searching:
    """Search one configuration; the answer is at most ``tolerance_ratio`` below a rate beyond the limits.

    Raises InputError if the study has no limits, or its load cannot be varied.
    """
    limits = load_limits(study.slo)
    if not limits:
        raise InputError("slo: a search of the highest load needs at least one limit, for example slo.ttft_p99_s")
    own_rate = check_rate(study)
    return _search(limits, own_rate or 1.0, min(tolerance_ratio, COARSEST_RATIO))


def _search(limits: Sequence[LoadLimit], own_rate: float, tolerance: float) -> Searching:
    known: dict[tuple[float, Effort], RateJudgement] = {}

    def judge(rate: float, effort: Effort) -> Judging:
        if (rate, effort) not in known:
            known[rate, effort] = yield from judge_rate(rate, limits, effort)
        return known[rate, effort]

    start = yield from _start(own_rate)
    edge = yield from highest_rate(judge, start, tolerance)
    interval = None
    if edge.good is not None and edge.bad is not None:
        edge, interval = yield from certain_interval(judge, edge, tolerance)
    rates = len({rate for rate, _ in known})
    if edge.good is None:
        return Capacity(edge.status, reason=edge.reason, rates=rates)
    judgement = yield from judge(edge.good, SEARCH if edge.bad is None else SURE)
    (run,) = yield [SteadyRun(edge.good, 0, judgement.requests, has_summary=True)]
    short, sure = ({rate: one for (rate, own), one in known.items() if own == effort} for effort in (SEARCH, SURE))
    band = None if edge.bad is None else band_of(sure, short, limits, edge.good, run.figures)
    return Capacity(
        edge.status,
        edge.good,
        interval,
        band,
        edge.reason,
        judgement.figures,
        judgement.lost_ratio,
        run.figures,
        rates,
    )


def _start(own_rate: float) -> Generator[list[SteadyRun], list[Replication], float]:
    """Return the first rate to try: a share of the rate at which requests that are all there at once leave the fleet.

    Where hardly any is served so, the study's own rate is a better guess.
    """
    (burst,) = yield [SteadyRun(BURST_PER_S, 0, BURST_REQUESTS)]
    served_s = burst.samples["e2e_s"][np.isfinite(burst.samples["e2e_s"])]
    if len(served_s) < burst.requests / 4:
        return own_rate
    middle_s = float(np.quantile(served_s, 0.75) - np.quantile(served_s, 0.25))
    whole_s = float(served_s.max())
    # The middle half leaves filling and running dry out; a burst that fits into one batch ends all at once.
    return START_SHARE * len(served_s) / max(2 * middle_s, whole_s / 2)


def highest_rate(
    judge: JudgeRate, start: float, tolerance: float
) -> Generator[list[SteadyRun], list[Replication], Edge]:
    """Return the highest rate that is within the limits and the lowest that is not, at most ``tolerance`` apart."""
    good: float | None = None
    bad: float | None = None
    reason, rate, step = "", start, FIRST_STEP
    for _ in range(MOST_RATES):
        judgement = yield from judge(rate, SEARCH)
        if judgement.is_within:
            good = rate
        else:
            bad, reason = rate, judgement.reason
        if good is not None and bad is not None:
            if bad / good <= 1 + tolerance:
                break
            rate = (good * bad) ** 0.5
            continue
        if good is None and ("refused" in reason or judgement.is_idle):
            break  # What fails on an idle fleet, or is refused, fails at every lower rate.
        rate, step = rate * step if bad is None else rate / step, min(step * step, MOST_STEP)
    return Edge(good, bad, reason)


def certain_interval(
    judge: JudgeRate, edge: Edge, step_ratio: float
) -> Generator[list[SteadyRun], list[Replication], tuple[Edge, Interval]]:
    """Return the neighbouring rates between which the figures cross the limits, and the interval of the answer.

    The rates are those of a ladder from the edge's ``good``, each ``step_ratio`` above the one before, and those in the
    middle between two.  Where no rung within reach is within the limits, the answer has no ``good``.
    """
    assert edge.good is not None
    base, factor = edge.good, 1 + step_ratio

    def judge_at(rung: float) -> Judging:
        return judge(base * factor**rung, SURE)

    good = 0.0
    while (judgement := (yield from judge_at(good + 1))).is_within and good < MOST_RUNGS:
        good += 1
    reason = judgement.reason
    while not (judgement := (yield from judge_at(good))).is_within:
        if good <= -MOST_RUNGS:
            return Edge(None, base * factor**good, reason), Interval(0.0, base * factor**good)
        good, reason = good - 1, judgement.reason
    bad = good + 1
    middle = yield from judge_at(good + HALF)
    good, bad, reason = (good + HALF, bad, reason) if middle.is_within else (good, bad - HALF, middle.reason)
    ends = []
    for rung, wanted, direction in ((good, Verdict.MET, -1), (bad, Verdict.MISSED, 1)):
        end = rung
        for move in range(MOST_MOVES):
            if (yield from judge_at(end)).verdict is wanted:
                break
            end += direction * (1 << move)
        ends.append(base * factor**end)
    return Edge(base * factor**good, base * factor**bad, reason), Interval(*ends)


def band_of(
    sure: Mapping[float, RateJudgement],
    short: Mapping[float, RateJudgement],
    limits: Sequence[LoadLimit],
    rate: float,
    figures: Mapping[str, float],
) -> Interval | None:
    """Return the answers for limits that are tighter and wider by the error bands, and by that of the throughput.

    ``sure`` are the judgements that the answer rests on, by their rates, ``short`` those of shorter runs, ``figures``
    the summary of a run at the answer, ``rate``.  None where a band is not known.
    """
    prefix = "predictor_coverage.error_band_percent."
    widths = [figures.get(f"{prefix}{limit.figure}") for limit in limits]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths):
        return None
    throughput = figures.get(f"{prefix}requests_per_s", 0.0) / 100
    # The upper end of the band around a predicted figure keeps a limit where the figure keeps so much less of it.
    low, high = (
        _crossing(sure, short, {limit: limit.limit.limit_s * (1 - sign * width / 100) for limit, width in pairs})
        for sign in (1, -1)
        for pairs in [list(zip(limits, known, strict=True))]
    )
    return Interval(min(low, rate * (1 - throughput)), max(high, rate * (1 + throughput)))


def _crossing(
    sure: Mapping[float, RateJudgement], short: Mapping[float, RateJudgement], limits_s: Mapping[LoadLimit, float]
) -> float:
    """Return the rate at which the first figure crosses its limit, between the rates judged or at their ends.

    In between figures change by a power of the rate.  Shorter runs say how the figures go on beyond the rates of the
    others, not how large they are: their curve is moved so that it goes on where that of the others ends.
    """
    rates, excess = _excess(sure, limits_s)
    further, shape = _excess(short, limits_s)
    if len(rates) and len(further):
        at_ends = np.interp(rates[[0, -1]], further, shape)
        below, above = further < rates[0], further > rates[-1]
        moved = [shape[below] + (excess[0] - at_ends[0]), excess, shape[above] + (excess[-1] - at_ends[1])]
        rates, excess = np.concatenate([further[below], rates, further[above]]), np.concatenate(moved)
    elif not len(rates):
        rates, excess = further, shape
    return math.exp(float(np.interp(0.0, excess, rates)))


def _excess(
    judgements: Mapping[float, RateJudgement], limits_s: Mapping[LoadLimit, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the logarithms of the rates judged, in their order, and by how much a figure is beyond its limit at most.

    The latter as logarithms, too; they do not fall, because less at one more request a second is noise.
    """
    rates = sorted(rate for rate, judgement in judgements.items() if judgement.figures)
    excess = [
        max(
            math.log(max(judgements[rate].figures[limit.name].value, 1e-12) / limit_s)
            if limit.name in judgements[rate].figures
            else -math.inf
            for limit, limit_s in limits_s.items()
        )
        for rate in rates
    ]
    return np.log(np.array(rates)), np.clip(np.maximum.accumulate(np.array(excess)), -1e3, 1e3)
