"""Time over the objectives: intervals of arrivals in which more requests were bad than the limits let be."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.growing_bins import padded
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

INTERVAL_S: Final = 10
_INTERVAL_NS: Final = INTERVAL_S * NS_PER_S


class SloIntervals:
    """Counts requests, and bad ones, by the interval of their arrival."""

    def __init__(self) -> None:
        self.requests: Int64Array = np.zeros(0, np.int64)
        self.bad: Int64Array = np.zeros(0, np.int64)

    def add(self, arrival_ns: Int64Array, is_bad: npt.NDArray[np.bool_]) -> None:
        """Add requests; those of which nobody knows are not among them."""
        if not len(arrival_ns):
            return
        index = arrival_ns // _INTERVAL_NS
        length = int(index.max()) + 1
        self.requests = padded(self.requests, length) + np.bincount(index, minlength=max(length, len(self.requests)))
        self.bad = padded(self.bad, length) + np.bincount(index[is_bad], minlength=max(length, len(self.bad)))

    def over_s(self, allowed_ratio: float, span_ns: tuple[int, int]) -> float:
        """Return the length of all intervals in which a larger share than allowed was bad, in seconds.

        An interval counts as far as it lies within ``span_ns``, what is measured.
        """
        starts_ns = np.flatnonzero(self.bad > allowed_ratio * self.requests) * _INTERVAL_NS
        lengths_ns = np.minimum(starts_ns + _INTERVAL_NS, span_ns[1]) - np.maximum(starts_ns, span_ns[0])
        return int(np.maximum(lengths_ns, 0).sum()) / NS_PER_S

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {"requests": self.requests.tolist(), "bad": self.bad.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self.requests, self.bad = (np.array(state[name], np.int64) for name in ("requests", "bad"))
