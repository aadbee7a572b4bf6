"""A scaler driven by a load in seconds, with replicas that serve after a cold start and leave at once."""

from collections.abc import Callable, Sequence
from typing import Any

from cluster_sim.routing.scaling.limits import Occupancy, ScalingLimits
from cluster_sim.routing.scaling.load_curve import LoadBin, LoadCurve
from cluster_sim.routing.scaling.metrics import PoolMetrics, ReplicaFigures, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool, Scaler

NS = 1_000_000_000
Load = Callable[[int], float]
"""Requests in flight, and also requests that arrive, in one second of simulated time."""

REQUESTS_THAT_FILL_A_CACHE = 20


def options_of(**block: Any) -> AutoscalerOptions:
    """Return the options of a scaler's block, without sources of the study's defaults."""
    options = SCALERS.get(block["kind"]).options.model_validate(block)
    assert isinstance(options, AutoscalerOptions)
    return options


def scaled_pool(options: AutoscalerOptions, name: str = "main", **facts: Any) -> ScaledPool:
    """Return a pool with the bounds of the options."""
    bounds = options.bounds_of(name)
    return ScaledPool(
        name, **{"min_replicas": bounds.min_replicas, "max_replicas": bounds.max_replicas, "model": "m", **facts}
    )


def build(options: AutoscalerOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> Scaler:
    """Build the scaler that options choose."""
    return SCALERS.chosen_by(options).part(options, pools, load)


def curve(load: Load, end_s: int, bin_s: int) -> LoadCurve:
    """Return a load in bins."""
    bins = {
        number: LoadBin(round(sum(load(second) for second in range(number * bin_s, (number + 1) * bin_s))))
        for number in range(end_s // bin_s)
    }
    return LoadCurve(bin_s * NS, {"m": bins})


def mean(load: Load, from_s: float, to_s: float) -> float:
    """Return the mean of a load between two times."""
    total = 0.0
    for second in range(int(from_s), int(to_s) + 1):
        overlap = min(to_s, second + 1) - max(from_s, second)
        total += max(0.0, overlap) * load(second)
    return total / (to_s - from_s) if to_s > from_s else 0.0


def drive(load: Load, end_s: int, start: int = 1, cold_start_s: int = 0, **block: Any) -> list[tuple[float, int]]:
    """Return (time in s, replicas that serve or start) of every change.

    The samples of a replica show its share of the load as running and as waiting requests; 20 requests fill its cache.
    """
    options = options_of(**block)
    pool = scaled_pool(options, cold_start_ns=cold_start_s * NS)
    known = curve(load, end_s + 100, round(block.get("bin_s", 10)))
    scaler = build(options, [pool], known if SCALERS.get(options.kind).part.knows_load else None)
    limits = ScalingLimits(options, [pool])
    serving_from = [0] * start
    changes = []
    last, now = 0, scaler.first_ns
    while 0 <= now < end_s * NS:
        ready = sum(begin <= now for begin in serving_from)
        share = load(now // NS) / ready if ready else 0.0
        interval_s = (now - last) / NS
        arrivals = mean(load, last / NS, now / NS) * interval_s
        figures = ReplicaFigures(share, share, min(1.0, share / REQUESTS_THAT_FILL_A_CACHE))
        pool_metrics = PoolMetrics(
            ready=ready,
            starting=len(serving_from) - ready,
            samples=(figures,) * ready,
            in_flight=mean(load, last / NS, now / NS) if ready else 0.0,
            queued=0.0 if ready else mean(load, last / NS, now / NS),
            arrivals=arrivals,
            prompt_tokens=arrivals * 1000,
            ended=arrivals,
            output_tokens=arrivals * 100,
        )
        desired = scaler.decide(ScalerMetrics(now - last, {"main": pool_metrics}), now)
        granted = limits.granted(desired, {"main": Occupancy(pool_metrics.wanted)})["main"]
        if granted != len(serving_from):
            changes.append((now / NS, granted))
        serving_from = (serving_from + [now + cold_start_s * NS] * granted)[:granted]
        last, now = now, scaler.next_ns(now)
    return changes


def step(low: float, high: float, at_s: int, until_s: int = 1 << 30) -> Load:
    """Return a load that jumps up, and down again where ``until_s`` is given: a burst."""
    return lambda second: high if at_s <= second < until_s else low
