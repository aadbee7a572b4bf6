"""Requests in the system over time, and whether their number still grows when the arrivals end.

Arrivals and departures are counted in equal intervals of simulated time, at most ``MOST_INTERVALS`` of them: when there
would be more, pairs are joined.  The part of the run from the end of the warm-up to the last arrival is cut into
``BATCHES`` equal batches; the number in the system grows if their trend is beyond chance (a t-test at 99 %) and adds up
to more than ``GROWTH_RATIO`` of the mean.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np

from cluster_sim.metrics.growing_bins import Int64Array, in_pairs, padded
from cluster_sim.metrics.trend import BATCHES, trend_of

FIRST_INTERVAL_NS: Final = 1_000_000
MOST_INTERVALS: Final = 4096
LEAST_REQUESTS: Final = 100
"""Fewer arrivals do not tell."""


class Presence:
    """Counts of arrivals and departures by interval."""

    def __init__(self) -> None:
        self.interval_ns = FIRST_INTERVAL_NS
        self.arrivals: Int64Array = np.zeros(0, np.int64)
        self.departures: Int64Array = np.zeros(0, np.int64)

    def add(self, arrivals_ns: Int64Array, departures_ns: Int64Array) -> None:
        """Add requests; one that never leaves has no departure (below 0)."""
        left_ns = departures_ns[departures_ns >= 0]
        latest_ns = max(int(arrivals_ns.max()), int(left_ns.max(initial=0)))
        while latest_ns >= MOST_INTERVALS * self.interval_ns:
            self.interval_ns *= 2
            self.arrivals, self.departures = in_pairs(self.arrivals).sum(axis=1), in_pairs(self.departures).sum(axis=1)
        length = max(len(self.arrivals), latest_ns // self.interval_ns + 1)
        self.arrivals = padded(self.arrivals, length) + np.bincount(arrivals_ns // self.interval_ns, minlength=length)
        self.departures = padded(self.departures, length)
        self.departures += np.bincount(left_ns // self.interval_ns, minlength=length)

    def growth_ratio(self, start_ns: int) -> float | None:
        """Return by how much of its mean the number in the system grows from ``start_ns`` to the last arrival, 0.0 if
        that may be chance; None if there are too few arrivals or intervals to tell.
        """
        last = np.flatnonzero(self.arrivals)
        first = -(-start_ns // self.interval_ns)
        if not len(last) or self.arrivals[first:].sum() < LEAST_REQUESTS or last[-1] + 1 - first < BATCHES:
            return None
        present = np.cumsum(self.arrivals - self.departures)[first : last[-1] + 1]
        edges = np.linspace(0, len(present), BATCHES + 1).astype(int)
        means = np.array([present[low:high].mean() for low, high in pairwise(edges)])
        trend = trend_of(means)
        return trend.growth_ratio if trend.is_growing() else 0.0

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {
            "interval_ns": self.interval_ns,
            "arrivals": self.arrivals.tobytes(),
            "departures": self.departures.tobytes(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self.interval_ns = state["interval_ns"]
        self.arrivals = np.frombuffer(state["arrivals"], np.int64).copy()
        self.departures = np.frombuffer(state["departures"], np.int64).copy()
