"""Comparison of figures: differences with intervals, and which of them are more than chance.

Two runs that served the same requests are compared batch by batch (paired); other runs as independent ones.  Sweeps
are compared configuration by configuration; where both vary the seed, seeds are the replications, in pairs.  Of a real
benchmark only the figures are known: its chance is taken to be that of the simulated figure at its number of requests.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.intervals import Estimate, paired_difference, unpaired_difference
from cluster_sim.metrics.llm_infer_names import STARVATION_FACTOR
from cluster_sim.metrics.sections import Statistic, batches_for, difference, reach_of, sections_of
from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.metrics.verdicts import Interval

Floats = npt.NDArray[np.float64]


class Finding(StrEnum):
    """What a difference means."""

    DIFFERENT = "different"
    """The whole interval is on one side of 0."""
    NOISE = "noise"
    """0 lies in the interval: chance alone may explain it."""
    WITHIN_BAND = "within the error band"
    """More than chance, but no more than the predictor's error on such runs."""
    EQUAL = "equal"
    UNKNOWN = "chance unknown"
    """One value on each side says nothing of chance."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure on both sides."""

    figure: str
    """With its unit, for example ``ttft_p99_s``."""
    first: float
    second: float
    difference: Estimate | None
    """Second less first; None where chance is not known."""
    finding: Finding

    @property
    def ratio(self) -> float | None:
        """The difference as a share of the first figure; None for a share of 0."""
        return (self.second - self.first) / abs(self.first) if self.first else None


def difference_of(figure: str, first: float, second: float, estimate: Estimate | None) -> Difference:
    """Return a difference with what it means."""
    if estimate is None or not all(map(math.isfinite, estimate.interval)):
        finding = Finding.EQUAL if first == second else Finding.UNKNOWN
        return Difference(figure, first, second, None, finding)
    if first == second and estimate.interval.low == estimate.interval.high:
        finding = Finding.EQUAL
    else:
        finding = Finding.DIFFERENT if estimate.excludes_zero else Finding.NOISE
    return Difference(figure, first, second, estimate, finding)


class Measure(NamedTuple):
    """A figure of the requests of a run."""

    name: str
    values: str
    """The values that it is of: a latency of ``Requests``, or ``lost``."""
    statistic: Statistic
    tail_ratio: float = 1.0
    """Share of the values that decides it."""


def _quantile(rank: float) -> Statistic:
    def quantile(values: Floats) -> float:
        place = max(math.ceil(len(values) * rank - 1e-9) - 1, 0)
        return float(np.partition(values, place)[place])

    return quantile


def _mean(values: Floats) -> float:
    return float(values.mean())


def _jain(values: Floats) -> float:
    return float(values.sum() ** 2 / (len(values) * (values * values).sum())) if values.any() else 1.0


def _starvation(values: Floats) -> float:
    return float((values > STARVATION_FACTOR * np.median(values)).mean())


STATISTICS: Final[Mapping[str, tuple[Statistic, float]]] = {
    "mean": (_mean, 1.0),
    **{f"p{percent}": (_quantile(percent / 100), 1 - percent / 100) for percent in (50, 90, 95, 99)},
}
MEASURES: Final = (
    *(
        Measure(f"{latency}_{name}_s", latency, *statistic)
        for latency in ("ttft", "tpot", "e2e", "queue")
        for name, statistic in STATISTICS.items()
    ),
    Measure("fairness_index", "e2e", _jain),
    Measure("starvation_rate", "e2e", _starvation),
    Measure("lost_ratio", "lost", _mean),
)
"""The figures of runs: latencies of finished requests in seconds, Jain's index and starvation as llm-infer has them."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One side of a comparison: a simulated run."""

    requests: npt.NDArray[np.int64]
    """int64[n, 3]: arrival in ns, prompt and output tokens of every request, by which runs are paired."""
    all_values: Mapping[str, Floats]
    """Latencies in seconds in the order of arrival, NaN where a request has none; ``lost`` is 1 or 0."""
    window: slice
    """The requests that are measured."""
    scalars: Mapping[str, float]
    """Figures of the whole run, of which chance is not known."""
    band_percent: Mapping[str, float]
    """Error bands of the predictor by figure, for example ``ttft_p99``."""

    def values(self, name: str, window: slice | None = None) -> Floats:
        """Return measured values, or those of another window; empty if the run has none of that name."""
        return self.all_values.get(name, np.empty(0))[self.window if window is None else window]

    def pairs_with(self, other: "RunFigures") -> bool:
        """Return whether both runs served the same requests."""
        return self.requests.shape == other.requests.shape and bool((self.requests == other.requests).all())


def compare_runs(first: RunFigures, second: RunFigures, confidence: float = CONFIDENCE) -> list[Difference]:
    """Return the differences of two runs: of their requests with intervals, then of what is known of the whole only."""
    are_paired = first.pairs_with(second)
    # Runs with one workload may have found warm-ups of different lengths.
    both = slice(max(first.window.start, second.window.start), min(first.window.stop, second.window.stop))
    found = []
    for measure in MEASURES:
        sides = [side.values(measure.values, both if are_paired else None) for side in (first, second)]
        counts = [_count(values) for values in sides]
        if not all(counts):
            continue
        batches = batches_for(min(counts), measure.tail_ratio)
        one, other = (sections_of(values, measure.statistic, batches) for values in sides)
        estimate = difference(one, other, are_paired=are_paired, confidence=confidence)
        found.append(difference_of(measure.name, one.whole, other.whole, estimate))
    names = [name for name in first.scalars if name in second.scalars]
    found += [difference_of(name, first.scalars[name], second.scalars[name], None) for name in names]
    return found


def compare_with_benchmark(
    run: RunFigures, measured: Mapping[str, float], requests: int, confidence: float = CONFIDENCE
) -> list[Difference]:
    """Return the differences of a simulated run and a benchmark's figures: measured first, simulated second.

    ``measured`` has figures by names as ``ttft_p99``, in seconds (rates in 1/s); ``requests`` is how many it sent.
    """
    found = []
    for measure in MEASURES:
        name = measure.name.removesuffix("_s")
        values = run.values(measure.values)
        count = _count(values)
        if name not in measured or not count:
            continue
        sections = sections_of(values, measure.statistic, batches_for(count, measure.tail_ratio))
        reach, estimate = reach_of(sections, confidence), None
        value = sections.whole - measured[name]
        if reach is not None:
            reach *= math.sqrt(1 + count / max(requests, 1))
            estimate = Estimate(value, Interval(value - reach, value + reach))
        found.append(_within_band(difference_of(measure.name, measured[name], sections.whole, estimate), run, name))
    if "requests_per_s" in measured and "requests_per_s" in run.scalars:
        found.append(difference_of("requests_per_s", measured["requests_per_s"], run.scalars["requests_per_s"], None))
    return found


def compare_replications(
    first: Sequence[Mapping[str, float]],
    second: Sequence[Mapping[str, float]],
    *,
    are_paired: bool,
    confidence: float = CONFIDENCE,
) -> list[Difference]:
    """Return the differences of the means of figures over replications; pairs are in the same places."""
    names = [name for name in first[0] if all(name in figures for figures in (*first, *second))]
    found = []
    for name in names:
        one, other = ([figures[name] for figures in side] for side in (first, second))
        combine = paired_difference if are_paired else unpaired_difference
        estimate = combine(one, other, confidence)
        found.append(difference_of(name, float(np.mean(one)), float(np.mean(other)), estimate))
    return found


def _count(values: Floats) -> int:
    return len(values) - int(np.isnan(values).sum())


def _within_band(found: Difference, run: RunFigures, name: str) -> Difference:
    """Return the difference, with a finding of its own if the predictor errs as much on runs that were measured."""
    band = run.band_percent.get(name)
    if found.finding is Finding.DIFFERENT and band is not None and abs(found.ratio or 0.0) <= band / 100:
        return Difference(found.figure, found.first, found.second, found.difference, Finding.WITHIN_BAND)
    return found


def plain_difference(difference: Difference) -> dict[str, Any]:
    """Return a difference as plain data, fit for JSON."""
    interval = difference.difference.interval if difference.difference is not None else (None, None)
    return {
        "figure": difference.figure,
        "first": _finite(difference.first),
        "second": _finite(difference.second),
        "difference": _finite(difference.second - difference.first),
        "difference_low": interval[0],
        "difference_high": interval[1],
        "ratio": difference.ratio,
        "finding": difference.finding.value,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
