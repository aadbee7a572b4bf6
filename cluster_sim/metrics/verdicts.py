"""Verdicts: a predicted figure with its error band held against a limit.

A limit is met when the whole band lies within it, missed when the whole band lies beyond it, and too close to call when
it lies inside the band.  Where no band is known the predicted figure alone decides.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from cluster_sim.metrics.run_metadata import RunMetadata


class Verdict(StrEnum):
    """The outcome of a comparison with a limit, from best to worst."""

    MET = "met"
    TOO_CLOSE = "too_close"
    MISSED = "missed"


class Interval(NamedTuple):
    """The values between which a real engine's figure is expected, in the figure's unit."""

    low: float
    high: float


BANDED_FIGURES: Final = (
    *(
        f"{interval}_{figure}"
        for interval in ("ttft", "tpot", "e2e")
        for figure in ("mean", "p50", "p90", "p95", "p99")
    ),
    "itl_mean",
    "requests_per_s",
)
"""Figures whose bands a summary lists, by names as ``ttft_p99``."""


def band_percent(metadata: RunMetadata, figure: str, *, is_near_saturation: bool) -> float | None:
    """Return the error that decides a figure's band, in percent of the measured value: the largest of the pools'.

    None if it is not known for one of them.
    """
    widths = [pool.error_band.error_of(figure, is_near_saturation=is_near_saturation) for pool in metadata.pools]
    known = [width for width in widths if width is not None]
    return max(known) if known and len(known) == len(widths) else None


def interval(value: float | None, error_percent: float | None) -> Interval | None:
    """Return the measured values from which a predicted one is off by at most so much; None without either."""
    if value is None or error_percent is None:
        return None
    ratio = error_percent / 100
    return Interval(value / (1 + ratio), value / (1 - ratio))


def figure_interval(summary: Mapping[str, Any], figure: str, value: float | None) -> Interval | None:
    """Return the band around a value of one of ``BANDED_FIGURES`` by the bands that a run's summary states."""
    return interval(value, summary["predictor_coverage"]["error_band_percent"].get(figure))


def verdict_of(limit: float, value: float, band: Interval | None) -> Verdict:
    """Return the verdict on an upper limit."""
    low, high = band or (value, value)
    if high <= limit:
        return Verdict.MET
    return Verdict.MISSED if low > limit else Verdict.TOO_CLOSE


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict; met if there is none."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.MET)
