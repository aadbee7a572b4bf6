"""Judgement of one run at a steady rate: sustained within limits, overloaded, or too short to tell.

Design.  A limit on a percentile is a limit on the share of requests beyond it, of which every request that was refused,
failed, shed or cancelled is one: so lost requests never make a figure better.  A run that loses more than
``MOST_LOST_RATIO`` is not sustained, whatever the limits are.  The measured part of the run is cut into batches of
equal numbers of requests; the spread of their shares, or means, says how certain the figure of the whole is (method of
batch means).  A queue that still grows over the batches is an overload, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.objectives import GAPS
from cluster_sim.metrics.trend import BATCHES, trend_of
from cluster_sim.study.limited_figures import LoadLimit

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.object_]

MOST_LOST_RATIO: Final = 0.01
"""Share of the requests that may be lost: as many as a limit on the 99th percentile allows."""
WARM_UP_RATIO: Final = 0.2
"""Share of the requests, the first to arrive, that fill the empty fleet and are not measured."""
T_95: Final = 2.262
"""Student's t for 95 % in both tails together, with one degree of freedom less than ``BATCHES``."""
GROWTH_T_UNCLEAR: Final = 2.306
"""Student's t for 95 % on the slope over the batches, below which a queue does not grow."""
GROWTH_RATIO_UNCLEAR: Final = 0.1
ALONE_RATIO: Final = 0.01
"""Requests in the system on average, below which they hardly ever meet: the fleet is idle."""
LEAST_RESIDENCES: Final = 25
"""Length of a run, in times that a request is in the system, from which on a queue that grows is no start any more."""


class Outcome(StrEnum):
    """The certainty of a judgement."""

    SUSTAINED = "sustained"
    UNCLEAR = "unclear"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class RequestRows:
    """The requests of a run in order of arrival; NaN where a request has no such interval."""

    arrival_s: Floats
    finish_s: Floats
    """When each request left, however it ended."""
    is_finished: Flags
    intervals_s: dict[str, Floats]
    """By metric, for example ``ttft_s``."""
    lost: dict[str, int]
    """Requests that did not finish, by status and reason."""
    gaps_s: dict[str, float]
    """Figures of the gaps between tokens, over all requests."""
    traits: dict[str, Words]
    """By key of a class of requests, for example ``tenant``; may be empty where there are no classes."""

    @property
    def count(self) -> int:
        """The number of requests."""
        return len(self.arrival_s)

    @property
    def span_s(self) -> float:
        """Time from the first arrival to the last."""
        return float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def measured(self) -> slice:
        """The requests after the warm-up."""
        return slice(int(self.count * WARM_UP_RATIO), self.count)

    @property
    def residences(self) -> float:
        """The length of the run in mean times that a measured request is in the system."""
        part = self.measured
        return self.span_s / max(float(np.mean(self.finish_s[part] - self.arrival_s[part])), 1e-9)

    @property
    def is_idle(self) -> bool:
        """Whether requests hardly ever meet, so that lower rates give the same figures."""
        return self.count < ALONE_RATIO * self.residences


class Judgement(NamedTuple):
    """What one run says about its rate."""

    outcome: Outcome
    is_sustained: bool
    """By the predicted figures alone."""
    reason: str
    """Why the rate is not sustained; empty if it is."""
    is_idle: bool = False
    """Whether the fleet is idle at the rate, so that lower ones change nothing."""


def judge(rows: RequestRows, limits: Sequence[LoadLimit]) -> Judgement:
    """Return what the measured part of a run says about its rate."""
    return _judge(rows, limits)._replace(is_idle=rows.is_idle)


def _judge(rows: RequestRows, limits: Sequence[LoadLimit]) -> Judgement:
    if not rows.is_finished.any():
        return Judgement(Outcome.OVERLOADED, False, _lost_text(rows))
    if sum(rows.lost.values()) > MOST_LOST_RATIO * rows.count:
        return Judgement(Outcome.OVERLOADED, False, _lost_text(rows))
    judgements = [*(_of_limit(rows, limit) for limit in limits), _of_growth(rows)]
    failing = [judgement for judgement in judgements if not judgement.is_sustained]
    outcomes = {judgement.outcome for judgement in judgements}
    outcome = next(
        outcome_kind
        for outcome_kind in (Outcome.OVERLOADED, Outcome.UNCLEAR, Outcome.SUSTAINED)
        if outcome_kind in outcomes
    )
    return Judgement(outcome, not failing, failing[0].reason if failing else "")


def figure_s(rows: RequestRows, limit: LoadLimit) -> float:
    """Return the measured figure that is limited, lost requests as infinitely late; 0 if no request has one."""
    kind = limit.limit
    if kind.metric == GAPS:
        return rows.gaps_s[kind.percentile] or 0.0
    values = _values(rows, limit)[rows.measured]
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0
    return float(known.mean() if kind.is_mean else np.quantile(known, kind.rank, method="inverted_cdf"))


def _lost_text(rows: RequestRows) -> str:
    return ", ".join(f"{count / rows.count:.2%} of the requests are {status}" for status, count in rows.lost.items())


def _values(rows: RequestRows, limit: LoadLimit) -> Floats:
    """Return the interval of every request, infinite for a lost one, NaN for one that the limit is not for."""
    values = np.where(rows.is_finished, rows.intervals_s[limit.limit.metric], np.inf)
    for name, wanted in limit.match.given().items() if limit.match is not None else ():
        values[rows.traits[name] != wanted] = np.nan
    return values


def _of_limit(rows: RequestRows, limit: LoadLimit) -> Judgement:
    """Return the judgement on a mean, or on the share of requests beyond a percentile's limit."""
    kind = limit.limit
    value_s = figure_s(rows, limit)
    reason = f"{limit.name.removesuffix('_s').replace('_', ' ')} is {value_s:.3g} s, above {kind.limit_s:g} s"
    if kind.metric == GAPS or np.isinf(value_s):
        is_within = value_s <= kind.limit_s
        return Judgement(Outcome.SUSTAINED if is_within else Outcome.OVERLOADED, is_within, "" if is_within else reason)
    values, allowed = _values(rows, limit), kind.limit_s
    if not kind.is_mean:
        values, allowed = np.where(np.isnan(values), np.nan, values > kind.limit_s), 1 - kind.rank
    batches = [values[part] for part in _batches(rows)]
    figures = np.array([float(np.nanmean(batch)) for batch in batches if not np.isnan(batch).all()])
    if not len(figures):
        return Judgement(Outcome.SUSTAINED, True, "")
    if len(figures) == 1:
        is_within = float(figures[0]) <= allowed
        return Judgement(Outcome.UNCLEAR, is_within, "" if is_within else reason)
    figure, reach = float(figures.mean()), T_95 * float(figures.std(ddof=1)) / len(figures) ** 0.5
    if figure + reach <= allowed:
        return Judgement(Outcome.SUSTAINED, True, "")
    if figure - reach > allowed:
        return Judgement(Outcome.OVERLOADED, False, reason)
    return Judgement(Outcome.UNCLEAR, figure <= allowed, "" if figure <= allowed else reason)


def _of_growth(rows: RequestRows) -> Judgement:
    """Return the judgement on the trend of the number of requests in the system; it is unclear while a fleet fills."""
    present = np.arange(1, rows.count + 1) - np.searchsorted(np.sort(rows.finish_s), rows.arrival_s, side="right")
    means = np.array([float(present[part].mean()) for part in _batches(rows)])
    trend = trend_of(means)
    if trend.is_growing():
        outcome = Outcome.OVERLOADED if rows.residences >= LEAST_RESIDENCES else Outcome.UNCLEAR
        return Judgement(
            outcome, False, f"the number of requests in the system grows by {trend.growth_ratio:.0%} over the run"
        )
    if trend.is_growing(GROWTH_T_UNCLEAR, GROWTH_RATIO_UNCLEAR):
        return Judgement(Outcome.UNCLEAR, True, "")
    return Judgement(Outcome.SUSTAINED, True, "")


def _batches(rows: RequestRows) -> Iterator[slice]:
    part = rows.measured
    edges = np.linspace(part.start, part.stop, BATCHES + 1).astype(int).tolist()
    yield from (slice(low, high) for low, high in pairwise(edges))
