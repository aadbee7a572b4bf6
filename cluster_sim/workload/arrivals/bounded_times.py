"""End of an arrival process after a count or at a time."""

from collections.abc import Iterator

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.sampling.random_streams import Ints


def bounded_times(times: ArrivalTimes, count: int | None, duration_s: float | None) -> ArrivalTimes:
    """Return the process ended: at most ``count`` arrivals, all before ``duration_s``; no block is empty."""
    end_ns = None if duration_s is None else round(duration_s * NS_PER_S)

    def bounded() -> Iterator[Ints]:
        left = count
        for whole in times():
            block = whole
            if end_ns is not None and int(block[-1]) >= end_ns:
                block = block[: int(np.searchsorted(block, end_ns, side="left"))]
            if left is not None:
                block = block[:left]
                left -= len(block)
            if len(block):
                yield block
            if len(block) < len(whole) or left == 0:
                return

    return bounded
