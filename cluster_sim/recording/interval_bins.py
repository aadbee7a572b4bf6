"""Integers summed by the interval of simulated time in which they occurred."""

from typing import Final

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_WHOLE_RUN_NS: Final = 1 << 62


class IntervalBins:
    """Sums over intervals ((k - 1) * ``interval_ns``, k * ``interval_ns``], kept from the first not yet taken.

    What happens may be added long before its interval is taken; in an interval already taken it counts in the next.
    ``totals`` is int64[rows] over everything added.  An interval of 0 keeps totals only.
    """

    __slots__ = ("_base", "_bins", "_interval_ns", "totals")

    def __init__(self, interval_ns: int, rows: int) -> None:
        self._interval_ns = interval_ns or _WHOLE_RUN_NS
        self._base = 0
        self._bins: Int64Array = np.zeros((rows, 0), np.int64)
        self.totals: Int64Array = np.zeros(rows, np.int64)

    def take(self, times_ns: Int64Array) -> Int64Array:
        """Return int64[rows, times], the figures since the time before, and forget them.

        ``times_ns`` rise from call to call; there is at least one.
        """
        ticks = (times_ns + self._interval_ns - 1) // self._interval_ns
        slots = ticks - self._base
        width = int(slots[-1]) + 1
        cumulative = np.zeros((len(self.totals), width), np.int64)
        held = min(self._bins.shape[1], width)
        np.cumsum(self._bins[:, :held], axis=1, out=cumulative[:, :held])
        if held:
            cumulative[:, held:] = cumulative[:, held - 1 : held]
        upto = cumulative[:, slots]
        upto[:, 1:] -= cumulative[:, slots[:-1]]
        self._bins = self._bins[:, width:].copy()
        self._base = int(ticks[-1]) + 1
        return upto

    def _slots(self, times_ns: Int64Array) -> Int64Array:
        """Return the intervals of times, counted from the first one kept."""
        slots: Int64Array = np.maximum((times_ns + (self._interval_ns - 1)) // self._interval_ns - self._base, 0)
        return slots

    def _begin(self, times_ns: Int64Array) -> tuple[int, Int64Array, Int64Array]:
        """Return the first slot of times, their slots counted from it, and room for the sums of each slot."""
        slots = self._slots(times_ns)
        first = int(slots.min())
        slots -= first
        return first, slots, np.zeros((len(self.totals), int(slots.max()) + 1), np.int64)

    def _end(self, first: int, sums: Int64Array) -> None:
        """Add what was summed from slot ``first`` on."""
        self.totals += sums.sum(axis=1)
        end = first + sums.shape[1]
        if end > self._bins.shape[1]:
            grown = np.zeros((len(self.totals), end + 16), np.int64)
            grown[:, : self._bins.shape[1]] = self._bins
            self._bins = grown
        self._bins[:, first:end] += sums


def counts_by_slot(
    rows: npt.NDArray[np.intp], slots: npt.NDArray[np.integer], weights: Int64Array | None, shape_of: Int64Array
) -> Int64Array:
    """Return how much weight lies in each (row, slot), an array of the same shape as ``shape_of``."""
    flat = np.bincount(rows * shape_of.shape[1] + slots, weights, shape_of.size)
    return flat.astype(np.int64).reshape(shape_of.shape)
