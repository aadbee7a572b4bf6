"""Error band of a prediction: how far from it a real engine may lie, by figure, for the case that a pool is.

A band is stated by the error that nine of ten predictions of such a case stay within, in percent of the measured value.
A figure that no measured run outside the fit has shown has no band.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class BandCase(StrEnum):
    """How far a prediction lies from what its source was measured with."""

    SEEN = "seen"
    """The same engine, model, device and tensor parallelism were measured, in other runs."""
    OPERATORS_SEEN = "operators_seen"
    """Every kernel of this engine, model, device and tensor parallelism was measured, but no run."""
    MODEL_OR_TP_UNSEEN = "model_or_tp_unseen"
    """The engine, the device, the class of architecture and the precision were measured."""
    VERSION_UNSEEN = "version_unseen"
    """The same of another version of the engine."""
    DEVICE_UNSEEN = "device_unseen"
    """The engine was measured, not the device; its kernels, or those of a similar device, were."""
    ENGINE_UNSEEN = "engine_unseen"
    """The kernels were measured, but no run of the engine with such a model in such a precision."""
    NONE_KNOWN = "none_known"
    """No run outside the fit says anything about such a case."""

    @property
    def words(self) -> str:
        """The case as people read it, for example "model or TP unseen"."""
        return self.value.replace("_", " ").replace(" tp ", " TP ")


STAND_INS: Final[dict[str, tuple[str, ...]]] = {
    **{f"{interval}_p95": (f"{interval}_p90", f"{interval}_p99") for interval in ("ttft", "tpot", "e2e")},
    "itl_mean": ("tpot_mean",),
}
"""Figures without measurements of their own, and those whose widest band stands for theirs."""


@dataclass(frozen=True, slots=True)
class ErrorBand:
    """The bands of one pool's figures."""

    case: BandCase = BandCase.NONE_KNOWN
    error_percent: Mapping[str, float] = field(default_factory=dict)
    """By figure, for example ``ttft_p99``; a figure that is missing has no known band."""
    saturated_error_percent: Mapping[str, float] = field(default_factory=dict)
    """The same near saturation, where it is wider."""

    def error_of(self, figure: str, *, is_near_saturation: bool) -> float | None:
        """Return the error of a figure in percent; None if none is known."""
        widths = [_width_of(self.error_percent, figure)]
        if is_near_saturation:
            widths.append(_width_of(self.saturated_error_percent, figure))
        return _widest(widths)

    def at_least(self, missed_percent: Mapping[str, float]) -> "ErrorBand":
        """Return the bands no narrower than the errors of metrics (ttft, tpot, e2e; step, which is tpot's).

        An error of 100 % or more leaves a measured value without an upper end: its figures then have no band.
        """
        metrics = {"step": "tpot"}
        seen = {metrics.get(name, name): percent for name, percent in missed_percent.items()}
        widened = {figure: max(width, _seen_of(figure, seen)) for figure, width in self.error_percent.items()}
        return replace(self, error_percent={figure: width for figure, width in widened.items() if width < 100})


NO_BAND: Final = ErrorBand()
"""What is known where nothing is."""


def _seen_of(figure: str, seen: Mapping[str, float]) -> float:
    """Return the error seen of a figure's metric, 0 for none."""
    metric = figure.partition("_")[0]
    return seen.get("tpot" if metric == "itl" else metric, 0.0)


def _width_of(percent: Mapping[str, float], figure: str) -> float | None:
    return _widest([percent.get(name) for name in STAND_INS.get(figure, (figure,))])


def _widest(widths: list[float | None]) -> float | None:
    """Return the largest; None if any of them is unknown."""
    known = [width for width in widths if width is not None]
    return max(known) if known and len(known) == len(widths) else None
