"""Figures of one run with their chance, by sectioning (Asmussen and Glynn, 2007, III.5a).

Requests that arrive together are served together, so a run is cut into batches in the order of arrival.  The figure of
the whole run is the estimate; its variance is the mean square of the batches' own figures around it, over their number.
That takes in the bias that the figure of a short batch has, so the interval is rather too wide than too narrow.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.intervals import Estimate
from cluster_sim.metrics.student_t import CONFIDENCE, student_t
from cluster_sim.metrics.verdicts import Interval

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], float]
"""Returns a figure of some values, float64[n], n at least 1."""

MOST_BATCHES: Final = 20
LEAST_BATCHES: Final = 5
TAIL_VALUES: Final = 5
"""Values of a batch beyond a percentile, if the run has enough of them."""
LEAST_VALUES: Final = 100
"""Fewer values than this say nothing of chance."""


class Sections(NamedTuple):
    """A figure of a run, and of its batches."""

    whole: float
    parts: Floats
    """float64[batches], NaN for a batch without values; empty where chance is not known."""


def batches_for(values: int, tail_ratio: float) -> int:
    """Return into how many batches a run is cut for a figure that a share ``tail_ratio`` of its values decides."""
    return max(LEAST_BATCHES, min(MOST_BATCHES, int(values * tail_ratio / TAIL_VALUES)))


def sections_of(values: Floats, statistic: Statistic, batches: int) -> Sections:
    """Return a figure of values in the order of arrival; NaN stands for a request that has none.

    Raises ValueError if no request has one.
    """
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("a figure needs at least one value")
    whole = statistic(values[known])
    if int(known.sum()) < LEAST_VALUES:
        return Sections(whole, np.empty(0))
    parts = [part[~np.isnan(part)] for part in np.array_split(values, batches)]
    return Sections(whole, np.array([statistic(part) if len(part) else math.nan for part in parts]))


def difference(
    first: Sections, second: Sections, *, are_paired: bool, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return ``second`` less ``first``; batches are paired if both runs served the same requests.

    None where chance is not known.
    """
    value = second.whole - first.whole
    if are_paired and len(first.parts) == len(second.parts):
        variance, degrees = _variance(Sections(value, second.parts - first.parts))
    else:
        variances = [_variance(side) for side in (first, second)]
        variance, degrees = sum(own for own, _ in variances), min(own for _, own in variances)
    if degrees < 1 or not math.isfinite(value):
        return None
    reach = student_t(degrees, confidence) * math.sqrt(variance)
    return Estimate(value, Interval(value - reach, value + reach))


def reach_of(sections: Sections, confidence: float = CONFIDENCE) -> float | None:
    """Return half of the width of a figure's interval; None where chance is not known."""
    variance, degrees = _variance(sections)
    return student_t(degrees, confidence) * math.sqrt(variance) if degrees >= 1 else None


def _variance(sections: Sections) -> tuple[float, int]:
    """Return the variance of a figure and its degrees of freedom, 0 where chance is not known."""
    known = sections.parts[~np.isnan(sections.parts)]
    degrees = len(known) - 1
    if degrees < 1:
        return 0.0, 0
    deviations = known - sections.whole
    return float(deviations @ deviations) / degrees / len(known), degrees
