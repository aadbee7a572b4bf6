"""Evidence on a fleet: its runs, the limited figures with their intervals, and the verdict.

A figure's interval covers chance, as the replications show it, and the predictor's error band around that.  Until all
replications are made the interval is the error band alone, and the verdict is provisional.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cluster_sim.metrics.intervals import mean_estimate
from cluster_sim.metrics.replicated_quantiles import ReplicatedValues
from cluster_sim.metrics.verdicts import Interval, Verdict, interval, verdict_of, worst
from cluster_sim.metrics.whole_run import WholeRunFigure
from cluster_sim.study.limited_figures import LoadLimit
from cluster_sim.study.planning.fleet_choice import Fleet
from cluster_sim.study.rate_judgement import MOST_LOST_RATIO
from cluster_sim.study.replications import WHOLE_RUN, Replication, Replications

FAR_RATIO: Final = 1.25
"""A figure whose interval begins so far beyond the limit is not run again: chance does not bring it back."""
MOST_FACTOR: Final = 3
"""Runs are made up to so many times their number while chance alone leaves a verdict open."""
HALVINGS: Final = 25
"""Steps to find a rank among a million values or more."""


class LimitedFigure(NamedTuple):
    """A limited figure of a fleet."""

    name: str
    """The key that limits it, for example ``ttft_p99_s``."""
    limit_s: float
    value_s: float | None
    """None if no request has the figure; infinite if lost requests reach it."""
    low_s: float | None
    high_s: float | None
    verdict: Verdict
    is_open: bool = False
    """Whether chance alone keeps the limit from being met, so that more runs may decide it."""

    @property
    def ratio(self) -> float:
        """The value over the limit."""
        return 0.0 if self.value_s is None else self.value_s / self.limit_s

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; what is infinite is null."""
        seconds = {name: _finite(getattr(self, name)) for name in ("value_s", "low_s", "high_s")}
        return {"name": self.name, "limit_s": self.limit_s, **seconds, "verdict": self.verdict.value}


@dataclass(slots=True)
class FleetEvidence:
    """What is known of one fleet."""

    fleet: Fleet
    limits: list[LoadLimit]
    replications: int
    """Runs behind a verdict."""
    runs: dict[int, Replication] = field(default_factory=dict)
    error: str = ""
    """Why the fleet cannot run; empty if it can."""
    is_broken_off: bool = False
    """Whether it is an attempt that failed, so that another may succeed: the process of the run died."""
    _figures: tuple[int, list[LimitedFigure]] | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return bool(self.error) or 0 in self.runs

    @property
    def is_confirmed(self) -> bool:
        """Whether the verdict stands: all runs are made, or none can change it."""
        return bool(self.error) or self.is_far or len(self.runs) >= self.needed

    @property
    def needed(self) -> int:
        """Runs that the verdict needs: more where chance alone makes it too close."""
        most = MOST_FACTOR * self.replications
        if len(self.runs) < self.replications or self.verdict is not Verdict.TOO_CLOSE:
            return self.replications
        is_open = any(figure.is_open for figure in self.figures)
        is_close = any(not figure.is_open and figure.verdict is Verdict.TOO_CLOSE for figure in self.figures)
        return min(most, len(self.runs) + self.replications) if is_open and not is_close else self.replications

    @property
    def is_far(self) -> bool:
        """Whether a run is so far beyond a limit that others need not be made."""
        if not self.runs or self.lost_ratio > MOST_LOST_RATIO:
            return bool(self.runs)
        return any(figure.low_s is not None and figure.low_s > FAR_RATIO * figure.limit_s for figure in self.figures)

    @property
    def has_error_band(self) -> bool:
        """Whether the predictor's error on every limited figure is known."""
        prefix = "predictor_coverage.error_band_percent."
        runs = self.runs.values()
        return all(f"{prefix}{limit.figure}" in run.figures for run in runs for limit in self.limits)

    @property
    def lost_ratio(self) -> float:
        """The largest share of requests that a run loses."""
        return max((run.lost_ratio for run in self.runs.values()), default=0.0)

    @property
    def figures(self) -> list[LimitedFigure]:
        """The limited figures of all runs together."""
        if self._figures is None or self._figures[0] != len(self.runs):
            runs = Replications(tuple(self.runs[number] for number in sorted(self.runs)))
            has_chance = len(self.runs) >= max(2, self.replications)
            self._figures = (len(self.runs), [_figure(runs, limit, has_chance=has_chance) for limit in self.limits])
        return self._figures[1]

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts; missed for a fleet that cannot run or loses requests."""
        if self.error or self.lost_ratio > MOST_LOST_RATIO:
            return Verdict.MISSED
        return worst(figure.verdict for figure in self.figures)

    @property
    def is_met(self) -> bool:
        """Whether the limits are met, as far as is known."""
        return self.is_known and self.verdict is Verdict.MET

    @property
    def ratio(self) -> float:
        """The largest figure over its limit; infinite for a fleet that cannot run or loses requests."""
        if self.error or self.lost_ratio > MOST_LOST_RATIO:
            return math.inf
        return max((figure.ratio for figure in self.figures), default=0.0)

    @property
    def far_ratio(self) -> float:
        """The largest far end of a figure's interval over its limit, or the figure where the end is open."""
        if not math.isfinite(self.ratio):
            return self.ratio
        ends = (
            (figure.high_s if _finite(figure.high_s) else figure.value_s, figure.limit_s) for figure in self.figures
        )
        return max((end / limit_s for end, limit_s in ends if end is not None), default=0.0)

    @property
    def reason(self) -> str:
        """Why the limits are not met for certain; empty if they are."""
        if self.error:
            return self.error
        if self.lost_ratio > MOST_LOST_RATIO:
            lost = max(self.runs.values(), key=lambda run: run.lost_ratio)
            parts = (f"{count / lost.requests:.1%} are {status}" for status, count in lost.lost.items())
            return f"requests are lost: {', '.join(parts)}"
        failing = [figure for figure in self.figures if figure.verdict is not Verdict.MET]
        return "; ".join(map(_words, failing))

    @property
    def hidden_misses(self) -> list[WholeRunFigure]:
        """The limited figures that are beyond their limits in the whole runs only, means over the runs.

        What is not measured, such as a warm-up, hides them.
        """
        means = [(figure, self.mean(f"{WHOLE_RUN}{figure.name}")) for figure in self.figures if figure.ratio <= 1]
        return [
            WholeRunFigure(figure.name, figure.limit_s, value_s)
            for figure, value_s in means
            if value_s is not None and value_s > figure.limit_s
        ]

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure of the summary over the runs that have it."""
        runs = [self.runs[number] for number in sorted(self.runs)]
        values = [run.figures[name] for run in runs if name in run.figures]
        return sum(values) / len(values) if values else None

    def most(self, name: str) -> float | None:
        """Return the largest value of a figure of the summary over the runs that have it."""
        return max((run.figures[name] for run in self.runs.values() if name in run.figures), default=None)

    def missing(self) -> Iterable[int]:
        """Yield the numbers of the runs that a verdict needs still."""
        if not self.error and not self.is_confirmed:
            yield from (number for number in range(self.needed) if number not in self.runs)


def _figure(runs: Replications, limit: LoadLimit, *, has_chance: bool) -> LimitedFigure:
    """Return a limited figure with the error band around it, or around its interval of chance."""
    limit_s = limit.limit.limit_s
    estimate = runs.limited(limit)
    if estimate is None:
        return LimitedFigure(limit.name, limit_s, None, None, None, Verdict.MET)
    value = estimate.value
    if math.isinf(value):
        return LimitedFigure(limit.name, limit_s, value, None, None, Verdict.MISSED)
    low, high = estimate.interval if has_chance else (value, value)
    if math.isinf(high) and not limit.limit.is_mean and (values := runs.values(limit.sample)) is not None:
        high = upper_end(values, limit.limit.rank)
    name = f"predictor_coverage.error_band_percent.{limit.figure}"
    percent = max((run.figures[name] for run in runs.runs if name in run.figures), default=None)
    lower, upper = interval(low, percent), interval(high, percent)
    if lower is not None and upper is not None and not math.isinf(high):
        low, high = lower.low, upper.high
    verdict = verdict_of(limit_s, value, Interval(low, high))
    without_chance = verdict_of(limit_s, value, interval(value, percent))
    is_open = verdict is Verdict.TOO_CLOSE and without_chance is Verdict.MET
    return LimitedFigure(limit.name, limit_s, value, low, high, verdict, is_open)


def upper_end(values: ReplicatedValues, rank: float) -> float:
    """Return the upper end of a quantile's interval where too few values lie beyond it for one by ranks.

    It is the smallest value that, by Student's interval of the replications' shares, at most ``1 - rank`` exceed.
    """
    low, high = rank, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shares = values.shares_above(values.quantile(middle))
        if mean_estimate(shares).interval.high <= 1 - rank:
            high = middle
        else:
            low = middle
    return values.quantile(high)


def _words(figure: LimitedFigure) -> str:
    owner, _, name = figure.name.rpartition(": ")
    metric, percentile, _ = name.split("_")
    title = f"{owner} {metric.upper()} {percentile}".strip()
    if figure.value_s is None or math.isinf(figure.value_s):
        return f"{title} is beyond every limit, as requests are lost"
    low_s, high_s = _finite(figure.low_s), _finite(figure.high_s)
    span = (
        "" if low_s is None else f" ({_ms(low_s)} or more)" if high_s is None else f" ({_ms(low_s)} to {_ms(high_s)})"
    )
    return f"{title} {_ms(figure.value_s)}{span}, limit {_ms(figure.limit_s)}"


def _ms(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
