"""Arrival processes as blocks of arrival times in ns.

Design: renewal processes sum gaps drawn by inversion; each gap is rounded to ns once, so times do not depend on how
they are cut into blocks.  Processes whose rate changes over time are made by thinning (Lewis and Shedler, 1979):
candidates arrive as a Poisson process at the greatest rate, and each is kept with probability rate(t) / greatest
rate.  This is exact, unlike drawing the next gap at the rate of the last arrival.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrival_options import (
    Arrivals,
    ConstantArrivals,
    GammaArrivals,
    MmppArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
    RampArrivals,
    SinusoidalArrivals,
    SpikeArrivals,
    StepArrivals,
    WeibullArrivals,
)
from cluster_sim.workload.rates import Ramp, Rate, Sinusoid, Spike, StatePath, Steps, piecewise_rate, step_rate
from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile
from cluster_sim.workload.sampling.random_streams import BLOCK, Floats, Ints, Stream

ArrivalTimes = Callable[[], Iterator[Ints]]
"""Starts a process over: non-empty blocks of arrival times in ns, never decreasing; endless unless the rate ends."""

_LONGEST_NS: Final = LONGEST_RUN_S * NS_PER_S

_EMPTY_BLOCKS: Final = 20_000
"""Thinning gives up after this many blocks without an arrival: the rate is then as good as 0 for ever."""


def build_arrivals(config: Arrivals, stream: Stream, count: int | None = None) -> ArrivalTimes:
    """Return the arrival process of a study; ``count`` is needed by a ramp over request indices."""
    match config:
        case ConstantArrivals():
            return lambda: _constant(config.request_rate)
        case PoissonArrivals():
            return _renewal(lambda u: -np.log1p(-u), lambda _: 1.0 / config.request_rate, stream)
        case GammaArrivals():
            return _gamma(config, stream, count)
        case WeibullArrivals():
            mean = math.gamma(1.0 + 1.0 / config.shape)
            return _renewal(
                lambda u: (-np.log1p(-u)) ** (1.0 / config.shape) / mean, lambda _: 1.0 / config.request_rate, stream
            )
        case SinusoidalArrivals():
            return _thinned(lambda: Sinusoid(config), stream)
        case RampArrivals():
            return _thinned(lambda: Ramp(config), stream)
        case SpikeArrivals():
            return _thinned(lambda: Spike(config), stream)
        case StepArrivals():
            return _thinned(lambda: step_rate(config), stream)
        case PiecewiseArrivals():
            rate: Steps = piecewise_rate(config)
            return _thinned(lambda: rate, stream)
        case MmppArrivals():
            return _thinned(lambda: StatePath(config, stream.child("states")), stream)


def _constant(request_rate: float) -> Iterator[Ints]:
    first = 1
    while True:
        index = np.arange(first, first + BLOCK, dtype=np.float64)
        yield _within_a_run(np.rint(index / request_rate * NS_PER_S))
        first += BLOCK


def _within_a_run(times_ns: Floats) -> Ints:
    """Return times as integers, those beyond what a run can span left out; InputError when none is left."""
    if float(times_ns[-1]) > _LONGEST_NS:
        times_ns = times_ns[times_ns <= _LONGEST_NS]
        if not len(times_ns):
            raise InputError(
                "workload.arrivals: the rate is so low that arrivals go beyond two simulated years, which no run can "
                "span; lower count, give duration_s, or raise the rate"
            )
    return times_ns.astype(np.int64)


def _sums(now: int, gaps: Ints) -> Ints:
    """Return the running sums of gaps from ``now`` on, as arrival times."""
    if float(gaps.sum(dtype=np.float64)) + now <= _LONGEST_NS:
        return now + np.cumsum(gaps)
    return _within_a_run(now + np.cumsum(gaps, dtype=np.float64))


def _gap_blocks(
    unit_gap: Callable[[Floats], Floats], mean_gap_s: Callable[[Floats], float | Floats], stream: Stream
) -> Iterator[Ints]:
    first = 0
    while True:
        index = np.arange(first, first + BLOCK, dtype=np.float64)
        gaps_ns = unit_gap(stream.uniforms(first, BLOCK)) * mean_gap_s(index) * NS_PER_S
        yield np.rint(np.minimum(gaps_ns, 2 * _LONGEST_NS)).astype(np.int64)
        first += BLOCK


def _renewal(
    unit_gap: Callable[[Floats], Floats], mean_gap_s: Callable[[Floats], float | Floats], stream: Stream
) -> ArrivalTimes:
    """Independent gaps: ``unit_gap`` maps uniforms to gaps of mean 1, ``mean_gap_s`` scales them by request index."""
    gap_stream = stream.child("gaps")

    def times() -> Iterator[Ints]:
        now = 0
        for gaps in _gap_blocks(unit_gap, mean_gap_s, gap_stream):
            block = _sums(now, gaps)
            now = int(block[-1])
            yield block
            if len(block) < len(gaps):
                now = int(_LONGEST_NS)

    return times


def _gamma(config: GammaArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Gamma gaps; a ramp goes by request index as in ``vllm bench serve``, so it needs the number of requests."""
    table = GammaQuantile(config.burstiness)

    def unit_gap(u: Floats) -> Floats:
        return np.asarray(table.values(u) / config.burstiness, dtype=np.float64)

    start, end = config.ramp_up_start_rps, config.ramp_up_end_rps
    if config.ramp_up_strategy is None or start is None or end is None:
        scale = 1.0
        if config.rescale:
            if count is None:
                raise InputError("workload.arrivals: rescale needs workload.count, the number of requests")
            total_ns = _total_of_gaps(unit_gap, config.request_rate, stream.child("gaps"), count)
            scale = count / config.request_rate * NS_PER_S / total_ns
        return _renewal(unit_gap, lambda _: scale / config.request_rate, stream)
    if count is None:
        raise InputError("workload.arrivals: a ramp by request index needs workload.count, the number of requests")
    last = max(count - 1, 1)
    linear = config.ramp_up_strategy == "linear"

    def mean_gap_s(index: Floats) -> Floats:
        share = np.minimum(index / last, 1.0)
        rate = start + (end - start) * share if linear else start * (end / start) ** share
        return np.asarray(1.0 / rate, dtype=np.float64)

    return _renewal(unit_gap, mean_gap_s, stream)


def _total_of_gaps(unit_gap: Callable[[Floats], Floats], rate: float, stream: Stream, count: int) -> float:
    total = 0
    left = count
    for gaps in _gap_blocks(unit_gap, lambda _: 1.0 / rate, stream):
        total += int(gaps[:left].sum())
        left -= BLOCK
        if left <= 0:
            break
    return float(max(total, 1))


def _thinned(make_rate: Callable[[], Rate], stream: Stream) -> ArrivalTimes:
    """Poisson with a changing rate, by thinning."""
    gap_stream, keep_stream = stream.child("gaps"), stream.child("keep")

    def times() -> Iterator[Ints]:
        rate = make_rate()
        now = 0
        first = 0
        empty = 0
        for gaps in _gap_blocks(lambda u: -np.log1p(-u), lambda _: 1.0 / rate.bound, gap_stream):
            candidates = _sums(now, gaps)
            now = int(candidates[-1])
            chance = rate.at(candidates / NS_PER_S) / rate.bound
            kept = candidates[keep_stream.uniforms(first, len(candidates)) < chance]
            first += BLOCK
            empty = 0 if len(kept) else empty + 1
            if len(kept):
                yield kept
            if now / NS_PER_S >= rate.ends_s or empty > _EMPTY_BLOCKS:
                return

    return times
