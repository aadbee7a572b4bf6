"""Prediction of a load's next value from its past: what planners use between two intervals."""

from collections import deque
from itertools import pairwise
from typing import Final, Literal

PredictorName = Literal["constant", "moving_average", "autoregressive"]

_LEAST_POINTS: Final = 5
"""Fewer observations than this make no trend; the last one is returned."""


class LoadPredictor:
    """Predicts the next value of one series.

    ``constant``: the last value.  ``moving_average``: the mean of the window.  ``autoregressive``: ARIMA(1, 1, 0), that
    is an AR(1) model of the differences, fitted by least squares over the window; it stands for the ARIMA models that
    planners fit, in the smallest form that follows a trend.
    """

    def __init__(self, kind: PredictorName, window: int) -> None:
        """``window`` is the number of observations that are kept."""
        self._kind = kind
        self._values: deque[float] = deque(maxlen=window)

    def observe(self, value: float) -> None:
        """Add an observation.  Zeros before the first load are left out: they are no part of it."""
        if value or self._values:
            self._values.append(value)

    def predict(self) -> float:
        """Return the next value, at least 0; 0 without any observation."""
        values = self._values
        if not values:
            return 0.0
        if self._kind == "moving_average":
            return sum(values) / len(values)
        if self._kind == "constant" or len(values) < _LEAST_POINTS:
            return values[-1]
        past = list(values)
        steps = [later - earlier for earlier, later in pairwise(past)]
        before, after = steps[:-1], steps[1:]
        variance = sum(step * step for step in before)
        slope = sum(first * second for first, second in zip(before, after, strict=True)) / variance if variance else 0.0
        return max(0.0, past[-1] + min(max(slope, -1.0), 1.0) * steps[-1])
