"""The highest load that a configuration serves within its limits, and how certain that is.

Design.  The simulator is deterministic and every run of one search draws the same requests, so whether a rate is within
the limits changes from yes to no once, up to noise.  The search doubles (or halves) the rate until it has one of each,
then bisects on a logarithmic scale, on the predicted figures.  The statistical interval reaches from the highest rate
that is sustained for certain to the lowest that is not; the error band's interval is the answer to the same search with
limits that are tighter and wider by the band.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.verdicts import Interval
from cluster_sim.study.limited_figures import LoadLimit, load_limits
from cluster_sim.study.load_judgement import Judgement, Outcome
from cluster_sim.study.steady_runs import SteadyRuns
from cluster_sim.workload.kind_interface import kind_of

FOUND: Final = "found"
NONE: Final = "none"
"""Even the lowest rate tried breaks a limit."""
UNBOUNDED: Final = "unbounded"
"""Even the highest rate tried is within the limits."""

COARSEST_RATIO: Final = 0.05
"""Tolerances beyond it are taken as it: two runs more, for an answer that can be quoted."""
MOST_STEPS: Final = 5
"""Steps of growing width from the answer to the ends of its statistical interval."""

MOST_SEARCHES: Final = 3
"""Searches for one answer: each further one has the longer runs that the intervals of the one before needed."""

Judge = Callable[[float], Judgement]
"""Judges a rate, requests per second."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to search."""

    start_per_s: float
    """First rate tried, requests per simulated second."""
    tolerance_ratio: float = 0.03
    """The answer is at most this share below a rate that breaks a limit."""
    max_rates: int = 24
    """Rates after which the best so far is the answer."""


class Edge(NamedTuple):
    """Two neighbouring rates: the highest found within the limits, the lowest found beyond them."""

    good: float | None
    bad: float | None
    tried: int
    reason: str
    """Why the lowest rate beyond the limits is."""

    @property
    def status(self) -> str:
        """Whether there is an answer."""
        if self.good is None:
            return NONE
        return UNBOUNDED if self.bad is None else FOUND


class Capacity(NamedTuple):
    """The answer: the highest rate found within the limits, how certain it is, and the run at that rate."""

    status: str
    rate_per_s: float | None
    statistical: Interval | None
    """Rates between which the length of the runs leaves the answer open."""
    band: Interval | None
    """Rates between which the predictor's error band leaves it open; None where no band is known."""
    reason: str
    """What limits the load."""
    figures_s: dict[str, float]
    """The limited figures at the answer."""
    lost_ratio: float | None
    """Share of the requests that did not finish, at the answer."""
    summary: dict[str, Any] | None
    runs: int


@dataclass(frozen=True, slots=True)
class CapacityTask:
    """One configuration to search, self-contained so that it can travel to another machine."""

    study: Study
    search: Search


def highest_rate(search: Search, judge: Judge) -> Edge:
    """Return the highest rate that ``judge`` calls sustained, and the lowest that it does not."""
    good: float | None = None
    bad: float | None = None
    reason = ""
    rate = search.start_per_s
    tolerance = min(search.tolerance_ratio, COARSEST_RATIO)
    for tried in range(1, search.max_rates + 1):
        judgement = judge(rate)
        if judgement.is_sustained:
            good = rate
        else:
            bad, reason = rate, judgement.reason
        if good is None:
            if "refused" in reason or judgement.is_idle:
                return Edge(None, bad, tried, reason)  # What fails on an idle fleet fails at every lower rate.
            rate /= 2
        elif bad is None:
            rate *= 2
        elif bad / good <= 1 + tolerance:
            return Edge(good, bad, tried, reason)
        else:
            rate = (good * bad) ** 0.5
    return Edge(good, bad, search.max_rates, reason)


def statistical_interval(edge: Edge, step_ratio: float, judge: Judge) -> Interval:
    """Return the rates between which the judgement is not certain: from sustained to overloaded for certain."""
    assert edge.good is not None
    assert edge.bad is not None

    def certain(rate: float, wanted: Outcome, factor: float) -> float:
        for step in range(MOST_STEPS):
            if judge(rate).outcome is wanted:
                break
            rate *= factor ** (1 << step)
        return rate

    factor = 1 + step_ratio
    low = certain(edge.good, Outcome.SUSTAINED, 1 / factor)
    return Interval(low, certain(edge.bad, Outcome.OVERLOADED, factor))


def rate_of(study: Study) -> float | None:
    """Return the mean rate that the study names, requests per second; None for a trace at its own rate."""
    return kind_of(study.workload).mean_rate()


def search_capacity(task: CapacityTask) -> Capacity:
    """Search one configuration in this process.

    Raises ``InputError`` if the study has no limits, its load cannot be varied, or a run finds its input wrong.
    """
    search = task.search
    limits = load_limits(task.study.slo)
    if not limits:
        raise InputError("slo: a search of the highest load needs at least one limit, for example slo.ttft_p99_s")
    runs = SteadyRuns(task.study)

    for _ in range(MOST_SEARCHES):
        answer = _answer(search, limits, runs)
        if answer.rate_per_s is None or runs.judge(answer.rate_per_s, limits).is_sustained:
            break
        search = replace(search, start_per_s=answer.rate_per_s)  # The intervals needed longer runs, which reject it.
    return answer


def _answer(search: Search, limits: list[LoadLimit], runs: SteadyRuns) -> Capacity:
    """Search once; return the answer with its intervals."""

    def judge(rate: float) -> Judgement:
        return runs.judge(rate, limits)

    edge = highest_rate(search, judge)
    if edge.good is None:
        return Capacity(edge.status, None, None, None, edge.reason, {}, None, None, runs.made)
    statistical = band = None
    if edge.bad is not None:
        statistical = statistical_interval(edge, min(search.tolerance_ratio, COARSEST_RATIO), judge)
        band = _band(edge, limits, runs, runs.summary(edge.good))
    figures = {limit.name: runs.figure_s(edge.good, limit) for limit in limits}
    lost, summary = runs.lost_ratio(edge.good), runs.summary(edge.good)
    return Capacity(edge.status, edge.good, statistical, band, edge.reason, figures, lost, summary, runs.made)


def _band(edge: Edge, limits: list[LoadLimit], runs: SteadyRuns, summary: dict[str, Any]) -> Interval | None:
    """Return the answers for limits that are tighter and wider by the error bands, and by that of the throughput."""
    percent = summary["predictor_coverage"]["error_band_percent"]
    widths = [percent.get(limit.figure) for limit in limits]
    if any(width is None for width in widths) or edge.good is None:
        return None

    def answer(sign: int) -> float:
        # The upper end of the band around a predicted figure keeps a limit where the figure keeps so much less of it.
        scaled = [
            LoadLimit(limit._replace(limit_s=limit.limit_s * (1 - sign * width / 100)), match)
            for (limit, match), width in zip(limits, widths, strict=True)
        ]
        found = highest_rate(Search(edge.good or 1.0, COARSEST_RATIO, 12), lambda rate: runs.judge(rate, scaled))
        return found.good or 0.0

    throughput = (percent.get("requests_per_s") or 0.0) / 100
    low, high = min(answer(1), edge.good), max(answer(-1), edge.good)
    return Interval(min(low, edge.good * (1 - throughput)), max(high, edge.good * (1 + throughput)))
