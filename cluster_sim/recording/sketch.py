"""A quantile sketch of integer durations: exact while small, a log-linear histogram of bounded error when large.

Design.  A value's bucket is the leading bits of its float64 representation: the binary exponent and the first
``SUB_BUCKET_BITS`` bits of the mantissa.  That is a logarithmic histogram whose octaves are cut linearly (the layout of
HdrHistogram), with the guarantee of DDSketch (Masson, Rim, Lee, VLDB 2019): any quantile is answered within a stated
relative error.  Bits instead of logarithms because they cost four integer operations a value and give the same bucket
on every machine.  All state is integer, so a sketch depends on the multiset of its values and never on their order or
on how they were split into calls: macro-steps, executors and placements all give the same sketch.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.exact_sums import exact_sum

Int64Array = npt.NDArray[np.int64]

SUB_BUCKET_BITS: Final = 7
RELATIVE_ERROR: Final = 0.005
"""Stated bound of a sketched quantile's relative error; the layout's own bound is 2**-(SUB_BUCKET_BITS + 1)."""
EXACT_LIMIT: Final = 262_144
"""Values up to which a sketch keeps every value and answers exactly."""

_SHIFT: Final = 52 - SUB_BUCKET_BITS
_KEY_OF_ONE: Final = 1023 << SUB_BUCKET_BITS
_COMPACT_CHUNKS: Final = 256


def bucket_keys(values: Int64Array) -> Int64Array:
    """Return the bucket of every value: 0 for zero, 1 for one, rising with the value; values must not be negative."""
    bits = values.astype(np.float64).view(np.int64)
    keys: Int64Array = np.maximum((bits >> _SHIFT) - (_KEY_OF_ONE - 1), 0)
    return keys


def bucket_values(keys: Int64Array) -> npt.NDArray[np.float64]:
    """Return the middle of every bucket, within ``RELATIVE_ERROR`` of all values in it."""
    shifted = (keys + (_KEY_OF_ONE - 1)) << _SHIFT
    middle = (shifted + (1 << (_SHIFT - 1))).view(np.float64)
    return np.where(keys == 0, 0.0, middle)


class QuantileSketch:
    """Count, exact sum, minimum and maximum, and quantiles of non-negative integers, each with an integer weight.

    Up to ``exact_limit`` values (sum of weights) everything is exact; beyond, quantiles and the standard deviation have
    a relative error of at most ``RELATIVE_ERROR``, while count, mean, minimum and maximum stay exact.
    """

    __slots__ = ("_sorted", "bins", "chunks", "count", "exact_limit", "maximum", "minimum", "total")

    def __init__(self, exact_limit: int = EXACT_LIMIT) -> None:
        self.exact_limit = exact_limit
        self.count = 0
        self.total = 0
        self.minimum = 0
        self.maximum = 0
        self.chunks: list[tuple[Int64Array, Int64Array]] | None = []
        """The values kept, with their weights; None once only ``bins`` counts."""
        self.bins: Int64Array = np.zeros(0, np.int64)
        self._sorted: tuple[npt.NDArray[np.float64], Int64Array] | None = None

    @property
    def is_exact(self) -> bool:
        """True while every value is kept."""
        return self.chunks is not None

    def add_many(self, values: Int64Array, weights: Int64Array | None = None) -> None:
        """Add values, each ``weights`` times (once without weights).  Raises ValueError for a negative value."""
        if weights is not None:
            held = weights > 0
            if not held.all():
                values, weights = values[held], weights[held]
        if not len(values):
            return
        lowest, highest = int(values.min()), int(values.max())
        if lowest < 0:
            raise ValueError(f"a sketch holds values >= 0, got {lowest}")
        self.minimum = min(self.minimum, lowest) if self.count else lowest
        self.maximum = max(self.maximum, highest)
        self._sorted = None
        if weights is None:
            self.count += len(values)
            self.total += exact_sum(values)
        else:
            self.count += int(weights.sum())
            self.total += exact_sum(values * weights)
        if self.chunks is None:
            self._count_in_bins(values, weights)
            return
        ones = np.ones(len(values), np.int64) if weights is None else weights.astype(np.int64)
        self.chunks.append((values.astype(np.int64), ones))
        if self.count > self.exact_limit:
            self._give_up_exactness()
        elif len(self.chunks) >= _COMPACT_CHUNKS:
            self._compact()

    def add_runs(self, values: Int64Array, lengths: Int64Array, weights: Int64Array) -> None:
        """Add ``values``, cut into runs of ``lengths`` >= 1, every value ``weights``[run] >= 1 times.

        The same as ``add_many`` with repeated weights, but a run that lies within one bucket counts as a whole.
        """
        if self.chunks is not None or not len(values):
            self.add_many(values, np.repeat(weights, lengths))
            return
        starts = np.cumsum(lengths) - lengths
        lowest, highest = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        if lowest.min() < 0:
            raise ValueError(f"a sketch holds values >= 0, got {lowest.min()}")
        self._sorted = None
        self.minimum, self.maximum = min(self.minimum, int(lowest.min())), max(self.maximum, int(highest.max()))
        self.count += int((lengths * weights).sum())
        self.total += exact_sum(np.add.reduceat(values, starts) * weights)
        is_whole = bucket_keys(lowest) == bucket_keys(highest)
        if is_whole.any():
            self._count_in_bins(lowest[is_whole], (lengths * weights)[is_whole])
        if not is_whole.all():
            is_cut = np.repeat(~is_whole, lengths)
            self._count_in_bins(values[is_cut], np.repeat(weights[~is_whole], lengths[~is_whole]))

    def merge(self, other: "QuantileSketch") -> None:
        """Add everything ``other`` holds; the result is exact only if both are and the sum fits ``exact_limit``."""
        if not other.count:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self.total += other.total
        self._sorted = None
        if other.chunks is not None:
            for values, weights in other.chunks:
                if self.chunks is None:
                    self._count_in_bins(values, weights)
                else:
                    self.chunks.append((values, weights))
            if self.chunks is not None and self.count > self.exact_limit:
                self._give_up_exactness()
            return
        if self.chunks is not None:
            self._give_up_exactness()
        self._grow(len(other.bins))
        self.bins[: len(other.bins)] += other.bins

    def mean(self) -> float:
        """Return the mean; 0 when empty."""
        return self.total / self.count if self.count else 0.0

    def std(self) -> float:
        """Return the population standard deviation; 0 when empty."""
        if not self.count:
            return 0.0
        values, cumulative = self._table()
        weights = np.diff(cumulative, prepend=0)
        deviations = values - self.mean()
        return float(np.sqrt((deviations * deviations * weights).sum() / self.count))

    def quantile(self, q: float, beyond: int = 0) -> float:
        """Return the ``q`` quantile, 0 <= q <= 1, interpolated between ranks as numpy's default; 0 when empty.

        ``beyond`` more values count that are larger than any number; a quantile that falls among them is infinite.
        """
        if not self.count + beyond:
            return 0.0
        rank = q * (self.count + beyond - 1)
        low = int(rank)
        high = min(low + (rank > low), self.count + beyond - 1)
        if high >= self.count:
            return float("inf")
        values, cumulative = self._table()
        below = float(values[np.searchsorted(cumulative, low, side="right")])
        above = float(values[np.searchsorted(cumulative, high, side="right")])
        return below + (above - below) * (rank - low)

    def fraction_above(self, value: float) -> float:
        """Return the share of values strictly above ``value`` (by the bucket's middle once sketched)."""
        if not self.count:
            return 0.0
        values, cumulative = self._table()
        at = int(np.searchsorted(values, value, side="right"))
        return (self.count - int(cumulative[at - 1])) / self.count if at else 1.0

    def to_plain(self) -> dict[str, Any]:
        """Return the state as numbers and bytes, fit for msgpack."""
        plain: dict[str, Any] = {
            "exact_limit": self.exact_limit,
            "count": self.count,
            "total": str(self.total),
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
        if self.chunks is None:
            keys = np.flatnonzero(self.bins)
            plain["keys"], plain["counts"] = keys.tobytes(), self.bins[keys].tobytes()
        else:
            self._compact()
            values, weights = self.chunks[0] if self.chunks else (self.bins, self.bins)
            plain["values"], plain["weights"] = values.tobytes(), weights.tobytes()
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "QuantileSketch":
        """Return the sketch that ``to_plain`` described."""
        sketch = cls(plain["exact_limit"])
        sketch.count = plain["count"]
        sketch.total = int(plain["total"])
        sketch.minimum = plain["minimum"]
        sketch.maximum = plain["maximum"]
        if "values" in plain:
            values = np.frombuffer(plain["values"], np.int64)
            sketch.chunks = [(values, np.frombuffer(plain["weights"], np.int64))] if len(values) else []
        else:
            keys = np.frombuffer(plain["keys"], np.int64)
            sketch.chunks = None
            sketch._grow(int(keys.max()) + 1)
            sketch.bins[keys] = np.frombuffer(plain["counts"], np.int64)
        return sketch

    def _grow(self, size: int) -> None:
        if size > len(self.bins):
            grown = np.zeros(size + 64, np.int64)
            grown[: len(self.bins)] = self.bins
            self.bins = grown

    def _count_in_bins(self, values: Int64Array, weights: Int64Array | None) -> None:
        keys = bucket_keys(values)
        first = int(keys.min())
        counts = np.bincount(keys - first, weights=weights)
        self._grow(first + len(counts))
        self.bins[first : first + len(counts)] += counts.astype(np.int64)

    def _give_up_exactness(self) -> None:
        chunks, self.chunks = self.chunks or [], None
        for values, weights in chunks:
            self._count_in_bins(values, weights)

    def _compact(self) -> None:
        """Join the kept chunks into one pair of arrays of rising distinct values and their weights."""
        if self.chunks:
            values = np.concatenate([chunk[0] for chunk in self.chunks])
            weights = np.concatenate([chunk[1] for chunk in self.chunks])
            unique, inverse = np.unique(values, return_inverse=True)
            self.chunks = [(unique, np.bincount(inverse, weights=weights).astype(np.int64))]

    def _table(self) -> tuple[npt.NDArray[np.float64], Int64Array]:
        """Return the distinct values in rising order and the cumulative weights up to each."""
        if self._sorted is None:
            if self.chunks is None:
                keys = np.flatnonzero(self.bins)
                weights = self.bins[keys]
                values = np.clip(bucket_values(keys), self.minimum, self.maximum)
            else:
                self._compact()
                exact, weights = self.chunks[0]
                values = exact.astype(np.float64)
            self._sorted = (values, np.cumsum(weights))
        return self._sorted
