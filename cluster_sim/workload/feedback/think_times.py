"""Think times: from the end of one request to the request that it causes."""

from typing import Final

import numpy as np

from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.sampling.random_streams import Floats, Ints

_LONGEST_NS: Final = 1e16


def floor_ns(think_floor_ms: float) -> int:
    """Return a think floor in ns, at least 1: an end and what it causes are never at the same instant."""
    return max(round(think_floor_ms * NS_PER_MS), 1)


def think_times_ns(seconds: Floats, floor: int) -> Ints:
    """Return drawn think times in ns, raised to the floor."""
    result: Ints = np.rint(np.clip(seconds * NS_PER_S, floor, _LONGEST_NS)).astype(np.int64)
    return result


def shortest_think_time_ns(least_s: float, floor: int) -> int:
    """Return the least think time of a distribution whose least value is ``least_s``: the hub's lookahead."""
    return max(floor, int(min(least_s * NS_PER_S, _LONGEST_NS)))
