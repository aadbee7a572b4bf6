"""Poisson processes whose rate changes over time, made by thinning (Lewis and Shedler, 1979).

Candidates arrive as a Poisson process at the greatest rate, and each is kept with probability rate(t) / greatest rate.
This is exact, unlike drawing the next gap at the rate of the last arrival.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.arrivals.renewal import exponential_gap, gap_blocks, times_after
from cluster_sim.workload.sampling.random_streams import BLOCK, Floats, Ints, Stream

_EMPTY_BLOCKS: Final = 20_000
"""Thinning gives up after this many blocks without an arrival: the rate is then as good as 0 for ever."""


class Rate(Protocol):
    """Requests per second as a function of time; asked with times that never decrease from call to call."""

    bound: float
    """No rate is greater."""
    ends_s: float
    """From here on the rate is 0 for ever; infinite when it is not."""

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times."""


class StepRate:
    """Rates that hold from one time to the next; before the first time the rate is 0."""

    def __init__(self, starts_s: list[float], rates: list[float], repeat_s: float | None = None) -> None:
        self._starts = np.asarray([-math.inf, *starts_s])
        self._rates = np.asarray([0.0, *rates])
        self._repeat_s = repeat_s
        self.bound = float(self._rates.max())
        self.ends_s = starts_s[-1] if rates[-1] == 0 and repeat_s is None else math.inf

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times."""
        if self._repeat_s is not None:
            times_s = times_s % self._repeat_s
        result: Floats = self._rates[np.searchsorted(self._starts, times_s, side="right") - 1]
        return result


def thinned_times(make_rate: Callable[[], Rate], stream: Stream) -> ArrivalTimes:
    """Return the Poisson process of a changing rate, which is made anew for each start."""
    gap_stream, keep_stream = stream.child("gaps"), stream.child("keep")

    def times() -> Iterator[Ints]:
        rate = make_rate()
        now = 0
        first = 0
        empty_blocks = 0
        for gaps in gap_blocks(exponential_gap, lambda _: 1.0 / rate.bound, gap_stream):
            candidates = times_after(now, gaps)
            now = int(candidates[-1])
            probability = rate.values(candidates / NS_PER_S) / rate.bound
            kept = candidates[keep_stream.uniforms(first, len(candidates)) < probability]
            first += BLOCK
            empty_blocks = 0 if len(kept) else empty_blocks + 1
            if len(kept):
                yield kept
            if now / NS_PER_S >= rate.ends_s or empty_blocks > _EMPTY_BLOCKS:
                return

    return times
