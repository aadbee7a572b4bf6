"""Renewal processes: sums of independent gaps that are drawn by inversion.

Each gap is rounded to ns once, so times do not depend on how they are cut into blocks.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.sampling.random_streams import BLOCK, Floats, Ints, Stream

UnitGap = Callable[[Floats], Floats]
"""Maps uniform numbers to gaps of mean 1."""

_LONGEST_NS: Final = LONGEST_RUN_S * NS_PER_S


def exponential_gap(uniforms: Floats) -> Floats:
    """Return exponential gaps of mean 1."""
    result: Floats = -np.log1p(-uniforms)
    return result


def renewal_times(unit_gap: UnitGap, mean_gap_s: Callable[[Floats], float | Floats], stream: Stream) -> ArrivalTimes:
    """Return a process of independent gaps; ``mean_gap_s`` scales the unit gaps by request index."""
    gap_stream = stream.child("gaps")

    def times() -> Iterator[Ints]:
        now = 0
        for gaps in gap_blocks(unit_gap, mean_gap_s, gap_stream):
            block = times_after(now, gaps)
            now = int(block[-1])
            yield block
            if len(block) < len(gaps):
                now = int(_LONGEST_NS)

    return times


def gap_blocks(unit_gap: UnitGap, mean_gap_s: Callable[[Floats], float | Floats], stream: Stream) -> Iterator[Ints]:
    """Yield gaps in ns, without end."""
    first = 0
    while True:
        index = np.arange(first, first + BLOCK, dtype=np.float64)
        gaps_ns = unit_gap(stream.uniforms(first, BLOCK)) * mean_gap_s(index) * NS_PER_S
        yield np.rint(np.minimum(gaps_ns, 2 * _LONGEST_NS)).astype(np.int64)
        first += BLOCK


def times_after(now: int, gaps: Ints) -> Ints:
    """Return the running sums of gaps from ``now`` on, as arrival times that a run can span."""
    if float(gaps.sum(dtype=np.float64)) + now <= _LONGEST_NS:
        return now + np.cumsum(gaps)
    return times_within_run(now + np.cumsum(gaps, dtype=np.float64))


def times_within_run(times_ns: Floats) -> Ints:
    """Return times as integers, without those that lie beyond the longest run; InputError when none is left."""
    if float(times_ns[-1]) > _LONGEST_NS:
        times_ns = times_ns[times_ns <= _LONGEST_NS]
        if not len(times_ns):
            raise InputError(
                "workload.arrivals: the rate is so low that arrivals go beyond two simulated years, which no run can "
                "span; lower count, give duration_s, or raise the rate"
            )
    return times_ns.astype(np.int64)
