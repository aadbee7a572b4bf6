"""Judgement of one run at a steady rate: sustained within limits, overloaded, or too short to tell.

Design.  A limit on a percentile is a limit on the share of requests beyond it, of which every request that was refused,
failed, shed or cancelled is one: so lost requests never make a figure better.  The measured part of the run is cut into
batches of equal numbers of requests; the spread of their shares says how certain the share of the whole is (method of
batch means).  A queue that still grows over the batches is an overload, whatever the percentiles are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.objectives import Limit

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BATCHES: Final = 10
WARM_UP_RATIO: Final = 0.2
"""Share of the requests, the first to arrive, that fill the empty fleet and are not measured."""
T_95: Final = 2.262
"""Student's t for 95 % in both tails together, with one degree of freedom less than ``BATCHES``."""
GROWTH_T: Final = 3.355
"""Student's t for 99 % on the slope over the batches (two degrees less), beyond which a queue grows for certain."""
GROWTH_T_UNCLEAR: Final = 2.306
GROWTH_RATIO: Final = 0.25
"""Least growth over the measured part, as a share of its mean, that counts."""
GROWTH_RATIO_UNCLEAR: Final = 0.1
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


class Judgement(NamedTuple):
    """What one run says about its rate."""

    outcome: Outcome
    is_sustained: bool
    """By the predicted figures alone."""
    reason: str
    """Why the rate is not sustained; empty if it is."""


def judge(rows: RequestRows, limits: Sequence[Limit]) -> Judgement:
    """Return what the measured part of a run says about its rate."""
    if not rows.is_finished.any():
        return Judgement(Outcome.OVERLOADED, False, "no request finishes")
    if rows.lost:
        lost = ", ".join(
            f"{count / rows.count:.1%} of the requests are {status}" for status, count in rows.lost.items()
        )
        return Judgement(Outcome.OVERLOADED, False, lost)
    judgements = [*(_of_limit(rows, limit) for limit in limits), _of_growth(rows)]
    failing = [judgement for judgement in judgements if not judgement.is_sustained]
    outcomes = {judgement.outcome for judgement in judgements}
    outcome = next(each for each in (Outcome.OVERLOADED, Outcome.UNCLEAR, Outcome.SUSTAINED) if each in outcomes)
    return Judgement(outcome, not failing, failing[0].reason if failing else "")


def percentile_s(rows: RequestRows, limit: Limit) -> float:
    """Return the measured percentile that ``limit`` limits; requests without one, such as of one token, left out."""
    values = rows.intervals_s[limit.metric][rows.measured]
    known = values[~np.isnan(values)]
    return float(np.quantile(known, _rank(limit), method="inverted_cdf")) if len(known) else 0.0


def _of_limit(rows: RequestRows, limit: Limit) -> Judgement:
    """Return the judgement on the share of requests beyond one limit."""
    allowed = 1 - _rank(limit)
    beyond = rows.intervals_s[limit.metric] > limit.limit_s
    shares = np.array([float(beyond[part].mean()) for part in _batches(rows)])
    share, reach = float(shares.mean()), T_95 * float(shares.std(ddof=1)) / BATCHES**0.5
    name = f"{limit.metric.removesuffix('_s')} {limit.percentile}"
    reason = f"{name} is {percentile_s(rows, limit):.3g} s, above {limit.limit_s:g} s"
    if share + reach <= allowed:
        return Judgement(Outcome.SUSTAINED, True, "")
    if share - reach > allowed:
        return Judgement(Outcome.OVERLOADED, False, reason)
    return Judgement(Outcome.UNCLEAR, share <= allowed, "" if share <= allowed else reason)


def _of_growth(rows: RequestRows) -> Judgement:
    """Return the judgement on the trend of the number of requests in the system; it is unclear while a fleet fills."""
    present = np.arange(1, rows.count + 1) - np.searchsorted(np.sort(rows.finish_s), rows.arrival_s, side="right")
    means = np.array([float(present[part].mean()) for part in _batches(rows)])
    steps = np.arange(BATCHES) - (BATCHES - 1) / 2
    slope = float(steps @ means) / float(steps @ steps)
    rest = means - means.mean() - slope * steps
    error = (float(rest @ rest) / (BATCHES - 2) / float(steps @ steps)) ** 0.5
    growth = slope * (BATCHES - 1) / float(means.mean())
    if slope > GROWTH_T * error and growth > GROWTH_RATIO:
        outcome = Outcome.OVERLOADED if rows.residences >= LEAST_RESIDENCES else Outcome.UNCLEAR
        return Judgement(outcome, False, f"the number of requests in the system grows by {growth:.0%} over the run")
    if slope > GROWTH_T_UNCLEAR * error and growth > GROWTH_RATIO_UNCLEAR:
        return Judgement(Outcome.UNCLEAR, True, "")
    return Judgement(Outcome.SUSTAINED, True, "")


def _batches(rows: RequestRows) -> Iterator[slice]:
    part = rows.measured
    edges = np.linspace(part.start, part.stop, BATCHES + 1).astype(int).tolist()
    yield from (slice(low, high) for low, high in pairwise(edges))


def _rank(limit: Limit) -> float:
    return int(limit.percentile.removeprefix("p")) / 100
