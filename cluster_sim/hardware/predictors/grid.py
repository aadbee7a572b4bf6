"""Interpolation in measured grids that never leaves them without saying so.

Design: between measured points, linear; above the last point, in proportion to the key (the roofline's ratio); below
the first, the first.  Curves are made non-decreasing from above first (the largest non-decreasing function below the
data): noise makes single points too slow, never too fast, and a predictor whose steps grow with their work has a
tight floor.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cluster_sim.errors import InputError

Float64Array = npt.NDArray[np.float64]


class Curve:
    """A non-decreasing piecewise linear function of one non-negative number."""

    __slots__ = ("_knots", "_slopes", "_values", "knots", "slopes", "values")

    def __init__(self, knots: Sequence[float], values: Sequence[float]) -> None:
        """``knots`` ascend strictly; ``values`` are non-negative, one per knot."""
        self.knots: Float64Array = np.asarray(knots, dtype=np.float64)
        self.values: Float64Array = envelope(np.asarray(values, dtype=np.float64))
        gaps = np.diff(self.knots)
        last = self.values[-1] / self.knots[-1] if self.knots[-1] > 0 else 0.0
        self.slopes: Float64Array = np.append(np.diff(self.values) / gaps, last)
        self._knots: list[float] = self.knots.tolist()
        self._values: list[float] = self.values.tolist()
        self._slopes: list[float] = self.slopes.tolist()

    def __call__(self, x: float) -> float:
        """Return the value at ``x``."""
        index = bisect_right(self._knots, x) - 1
        if index < 0:
            return self._values[0]
        return (x - self._knots[index]) * self._slopes[index] + self._values[index]

    def many(self, x: Float64Array) -> Float64Array:
        """Return the values at ``x``: the same operations in the same order, so the same bits."""
        index = np.searchsorted(self.knots, x, side="right") - 1
        inside = np.maximum(index, 0)
        result: Float64Array = (np.maximum(x, self.knots[0]) - self.knots[inside]) * self.slopes[inside]
        result += self.values[inside]
        return result

    @property
    def last_knot(self) -> float:
        """The greatest measured key."""
        return self._knots[-1]


def envelope(values: Float64Array, axis: int = 0) -> Float64Array:
    """Return the largest function below ``values`` that does not decrease along ``axis``."""
    flipped = np.flip(values, axis)
    result: Float64Array = np.flip(np.minimum.accumulate(flipped, axis), axis)
    return result


def bracket(knots: Sequence[float], x: float) -> tuple[int, int, float]:
    """Return (lower index, upper index, weight of the upper) of ``x``, clamped to the ends."""
    if x <= knots[0]:
        return 0, 0, 0.0
    if x >= knots[-1]:
        return len(knots) - 1, len(knots) - 1, 0.0
    upper = bisect_right(knots, x)
    lower = upper - 1
    return lower, upper, (x - knots[lower]) / (knots[upper] - knots[lower])


def grid_of(points: list[tuple[int, int, float]], what: str) -> tuple[list[float], list[float], Float64Array]:
    """Return a grid over the two keys: their values, and a table that is non-decreasing in both.

    Missing cells are filled along the second key.  Raises InputError when there is no point at all.
    """
    rows = [float(value) for value in sorted({point[0] for point in points})]
    columns = [float(value) for value in sorted({point[1] for point in points})]
    if not rows or not columns:
        raise InputError(f"the profile has no {what}")
    table = np.full((len(rows), len(columns)), np.nan)
    for row, column, us in points:
        table[rows.index(row), columns.index(column)] = us
    for index, values in enumerate(table):
        known = ~np.isnan(values)
        last = int(np.nonzero(known)[0][-1])
        table[index, : last + 1] = np.interp(columns[: last + 1], np.array(columns)[known], values[known])
        for column_index in range(last + 1, len(columns)):
            scale = columns[column_index] / columns[last] if columns[last] else 1.0
            table[index, column_index] = table[index, last] * scale
    return rows, columns, envelope(envelope(table, 0), 1)


def interpolate(rows: list[float], columns: list[float], table: Float64Array, x: float, y: float) -> float:
    """Return the bilinear value at (x, y), clamped to the grid."""
    x0, x1, wx = bracket(rows, x)
    y0, y1, wy = bracket(columns, y)
    low = table[x0, y0] + (table[x0, y1] - table[x0, y0]) * wy
    high = table[x1, y0] + (table[x1, y1] - table[x1, y0]) * wy
    return float(low + (high - low) * wx)
