"""Means over batches of requests in the order of their numbers, and the warm-up that they show (MSER-5).

MSER-5 (White, Cobb and Spratt, 2000) cuts off as many of the first batches of five as make the standard error of the
mean of the rest least.  A minimum in the second half says that the run was too short to tell.  Here the figure is the
time that a request takes from end to end.

Design.  At most ``MOST_BATCHES`` batches are kept: when there would be more, pairs are joined, so that memory does not
grow with the run.  All state is integer and depends on the set of rows alone.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.growing_bins import Int64Array, in_pairs, padded

BATCH_REQUESTS: Final = 5
"""Requests of a batch at first, as in MSER-5."""
MOST_BATCHES: Final = 8192
LEAST_BATCHES: Final = 20
"""Fewer do not show a warm-up."""
_TAIL: Final = 5
"""Batches at the end that the search for the minimum leaves alone: the error of a handful says nothing."""


class BatchMeans:
    """Sums over batches of requests; a request's number is its id."""

    def __init__(self) -> None:
        self.size = BATCH_REQUESTS
        """Requests of a batch."""
        self.counts: Int64Array = np.zeros(0, np.int64)
        """Requests with a value, by batch."""
        self.sums_us: Int64Array = np.zeros(0, np.int64)
        self.first_ns: Int64Array = np.zeros(0, np.int64)
        """Earliest arrival of any request of the batch."""

    def add(self, numbers: Int64Array, arrivals_ns: Int64Array, values_ns: Int64Array) -> None:
        """Add requests by their numbers; a value below 0 is none."""
        while int(numbers.max()) >= MOST_BATCHES * self.size:
            self._join_pairs()
        batches = numbers // self.size
        batch_count = max(len(self.counts), int(batches.max()) + 1)
        has_value = values_ns >= 0
        self.counts = padded(self.counts, batch_count)
        self.counts += np.bincount(batches[has_value], minlength=batch_count)
        self.sums_us = padded(self.sums_us, batch_count)
        np.add.at(self.sums_us, batches[has_value], values_ns[has_value] // 1000)
        self.first_ns = padded(self.first_ns, batch_count, _NEVER_NS)
        np.minimum.at(self.first_ns, batches, arrivals_ns)

    def warm_up_ns(self) -> int | None:
        """Return when the first request after the warm-up arrives; None if there are too few batches to tell, or if the
        run never settles.
        """
        known = np.flatnonzero(self.counts)
        if len(known) < LEAST_BATCHES:
            return None
        cut = mser(self.sums_us[known] / self.counts[known])
        if cut is None:
            return None
        return int(self.first_ns[known[cut] :].min()) if cut else 0

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {"size": self.size, **{name: getattr(self, name).tobytes() for name in _ARRAYS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self.size = state["size"]
        for name in _ARRAYS:
            setattr(self, name, np.frombuffer(state[name], np.int64).copy())

    def _join_pairs(self) -> None:
        self.size *= 2
        self.counts = in_pairs(self.counts).sum(axis=1)
        self.sums_us = in_pairs(self.sums_us).sum(axis=1)
        self.first_ns = in_pairs(self.first_ns, _NEVER_NS).min(axis=1)


_ARRAYS: Final = ("counts", "sums_us", "first_ns")
_NEVER_NS: Final = 1 << 62


def mser(means: npt.NDArray[np.float64]) -> int | None:
    """Return how many of the first ``means`` to cut off; None if the best cut leaves less than half."""
    count = len(means)
    left = np.arange(count, 0, -1)
    # Deviations from the whole mean: their sums stay small, and so does the rounding of their squares.
    deviations = means - means.mean()
    sums = np.cumsum(deviations[::-1])[::-1]
    squares = np.cumsum((deviations * deviations)[::-1])[::-1]
    errors = np.maximum(squares - sums * sums / left, 0.0) / (left * left)
    cut = int(np.argmin(errors[: count - _TAIL]))
    return cut if cut <= count // 2 else None
