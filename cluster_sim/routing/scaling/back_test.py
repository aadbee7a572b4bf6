"""Back-test of a scaler: its decisions on recorded metrics, without a fleet.

The records say what the load was; they do not answer to the decisions.  Replicas follow the decisions with their cold
starts, unless the records say how many were ready.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from cluster_sim.routing.scaling.limits import Occupancy, ScalingLimits
from cluster_sim.routing.scaling.load_curve import LoadBin, LoadCurve
from cluster_sim.routing.scaling.metrics import PoolMetrics, ReplicaFigures, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool

STATES: Final = ("in_flight", "queued")
"""Columns that are averaged over the records since the last decision."""
COUNTS: Final = ("arrivals", "prompt_tokens", "ended", "output_tokens")
"""Columns that are added up over them."""
MEANS: Final = ("ttft_s", "itl_s")
"""Columns of which the newest value counts."""
SAMPLES: Final = ReplicaFigures._fields
"""Columns of single replicas, or means over the ready ones where records name no replica."""
COLUMNS: Final = ("ready", *SAMPLES, *STATES, *COUNTS, *MEANS)


class Record(NamedTuple):
    """What was measured at one time of a pool, or of one of its replicas."""

    time_ns: int
    pool: str
    replica: int
    """Negative where the record is of the whole pool."""
    values: Mapping[str, float]
    """By ``COLUMNS``; what was not measured is missing."""


class Decision(NamedTuple):
    """What a scaler decided for one pool."""

    time_ns: int
    pool: str
    ready: int
    starting: int
    desired: int
    """What it asked for."""
    granted: int
    """What bounds and budgets left of that."""


class _PoolState:
    """One pool as the records and the decisions have made it."""

    def __init__(self, pool: ScaledPool, replicas: int) -> None:
        self.pool = pool
        self.serving_from = [0] * replicas
        """When each replica serves."""
        self.recorded_ready: int | None = None
        self.newest: dict[str, float] = {}
        self.samples: dict[int, ReplicaFigures] = {}
        self.since: list[Mapping[str, float]] = []
        """Records since the last decision."""

    def add(self, record: Record) -> None:
        values = record.values
        self.newest.update(values)
        self.since.append(values)
        if "ready" in values:
            self.recorded_ready = round(values["ready"])
        if any(name in values for name in SAMPLES):
            figures = ReplicaFigures(*(values.get(name, 0.0) for name in SAMPLES))
            if record.replica < 0:
                self.samples = {-1: figures}
            else:
                self.samples.pop(-1, None)
                self.samples[record.replica] = figures

    def metrics(self, now_ns: int) -> PoolMetrics:
        ready = sum(start_ns <= now_ns for start_ns in self.serving_from)
        starting = len(self.serving_from) - ready
        if self.recorded_ready is not None:
            ready, starting = self.recorded_ready, 0
        samples = tuple(self.samples.values())
        if -1 in self.samples:
            samples = samples * ready
        means = [self._mean(name) for name in STATES]
        counts = [sum(values.get(name, 0.0) for values in self.since) for name in COUNTS]
        newest = [self.newest.get(name) for name in MEANS]
        self.since = []
        return PoolMetrics(ready, starting, 0, samples, *means, *counts, *newest)

    def _mean(self, name: str) -> float:
        found = [values[name] for values in self.since if name in values]
        return sum(found) / len(found) if found else self.newest.get(name, 0.0)

    def bring_to(self, replicas: int, now_ns: int) -> None:
        """Start replicas, or take the youngest away at once."""
        more = [now_ns + self.pool.cold_start_ns] * (replicas - len(self.serving_from))
        self.serving_from = (self.serving_from + more)[:replicas]


def back_test(
    options: AutoscalerOptions, pools: Sequence[ScaledPool], replicas: Mapping[str, int], records: Sequence[Record]
) -> Iterator[Decision]:
    """Yield the decisions of a scaler up to the last record; ``replicas`` has the number of each pool at the start.

    The records are in the order of time, and name no other pools.
    """
    part = SCALERS.chosen_by(options).part
    scaler = part(options, pools)
    if scaler.knows_load:
        scaler.load = load_of(records, pools, scaler.bin_ns)
    limits = ScalingLimits(options, pools)
    states = {pool.name: _PoolState(pool, replicas[pool.name]) for pool in pools}
    taken, last_ns, now_ns = 0, 0, scaler.first_ns
    while records and 0 <= now_ns <= records[-1].time_ns:
        while taken < len(records) and records[taken].time_ns <= now_ns:
            states[records[taken].pool].add(records[taken])
            taken += 1
        metrics = {name: state.metrics(now_ns) for name, state in states.items()}
        desired = scaler.decide(ScalerMetrics(now_ns - last_ns, metrics), now_ns)
        occupied = {name: Occupancy(figures.wanted) for name, figures in metrics.items()}
        granted = limits.granted(desired, occupied)
        for name, state in states.items():
            figures = metrics[name]
            yield Decision(now_ns, name, figures.ready, figures.starting, desired[name], granted[name])
            state.bring_to(granted[name], now_ns)
        last_ns, now_ns = now_ns, scaler.next_ns(now_ns)


def load_of(records: Sequence[Record], pools: Sequence[ScaledPool], bin_ns: int) -> LoadCurve:
    """Return the recorded arrivals, which come in the interval up to their record, in bins."""
    models = {pool.name: pool.model for pool in pools}
    bins: dict[str, dict[int, LoadBin]] = {}
    for record in records:
        by_number = bins.setdefault(models[record.pool], {})
        number = max(0, record.time_ns - 1) // bin_ns
        more = [round(record.values.get(name, 0.0)) for name in ("arrivals", "prompt_tokens", "output_tokens")]
        by_number[number] = LoadBin(*map(sum, zip(by_number.get(number, LoadBin()), more, strict=True)))
    return LoadCurve(bin_ns, bins)
