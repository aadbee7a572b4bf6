"""Axes of charts: where values lie between the two ends, and which of them are labelled."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Format = Callable[[float], str]

_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS: Final = 5
"""Labels of an axis, about."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from ``low`` to ``high``; ``ticks`` are the values that are labelled."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False
    unit: str = ""
    """The unit of values for a reader who points at them: "s" stands for a duration, "%" for a ratio."""

    def places(self, values: FloatArray) -> FloatArray:
        """Return where values lie: 0 at the low end, 1 at the high end; NaN stays NaN."""
        low, high = self.low, self.high
        if self.is_log:
            low, high = math.log(low), math.log(high)
            values = np.log(np.maximum(values, self.low))
        places: FloatArray = (values - low) / (high - low)
        return places

    def place(self, value: float) -> float:
        """Return where one value lies."""
        return float(self.places(np.array([value], np.float64))[0])


def linear_axis(title: str, low: float, high: float, form: Format, unit: str = "", *, is_whole: bool = False) -> Axis:
    """Return an axis whose ends are round; ``is_whole`` labels no fractions."""
    if high <= low:
        high = low + 1.0
    step = _nice_step((high - low) / _TICKS)
    if is_whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = [number * step for number in range(first, last + 1)]
    return Axis(title, values[0], values[-1], tuple((value, form(value)) for value in values), unit=unit)


def log_axis(title: str, low: float, high: float, form: Format, unit: str = "") -> Axis:
    """Return a logarithmic axis over positive values, labelled at powers of ten, and between if there are few."""
    high = max(high, low * 1.5)
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    decades = last - first
    if decades > 2:
        every = -(-decades // 6)
        values = [10.0**power for power in range(first, last + 1, every)]
        return Axis(title, 10.0**first, 10.0**last, tuple((v, form(v)) for v in values), is_log=True, unit=unit)
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = [value for value in values if value <= low * (1 + 1e-9)]
    above = [value for value in values if value >= high * (1 - 1e-9)]
    ends = below[-1], above[0] if above else 10.0**last
    inside = tuple((value, form(value)) for value in values if ends[0] <= value <= ends[1])
    return Axis(title, *ends, inside, is_log=True, unit=unit)


def time_axis(title: str, start_s: float, end_s: float) -> Axis:
    """Return an axis of simulated time that fits its data, labelled in seconds, minutes or hours."""
    end_s = max(end_s, start_s + 1e-6)
    scale, unit = next(
        ((scale, unit) for scale, unit, least in ((3600.0, "h", 3.0), (60.0, "min", 5.0)) if end_s / scale >= least),
        (1.0, "s"),
    )
    step = _nice_step((end_s - start_s) / scale / _TICKS)
    first, last = math.ceil(start_s / scale / step - 1e-9), math.floor(end_s / scale / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    ticks = tuple((value * scale, f"{value:,.6g} {unit}") for value in values)
    return Axis(title, start_s, end_s, ticks, unit="s")


def _nice_step(least: float) -> float:
    """Return the smallest round number that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(nice * power for nice in _NICE if nice * power >= least * (1 - 1e-9))
