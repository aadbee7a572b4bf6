"""Metrics of a scaler: what it reads of the pools when it decides, in a run or from a recorded file."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

MetricName = Literal["running", "waiting", "kv_used_ratio", "in_flight", "queued", "requests_per_s", "tokens_per_s"]
"""A figure that a scaler can hold against a target; ``Metric`` says what each is."""

SAMPLED_METRICS: Final = frozenset({"running", "waiting", "kv_used_ratio"})
"""Metrics of single replicas, from samples; the others are the router's own counts, over the whole pool."""

METRIC_NAMES: Final[tuple[str, ...]] = get_args(MetricName)


class ReplicaFigures(NamedTuple):
    """The newest visible sample of one ready replica."""

    running: float = 0.0
    waiting: float = 0.0
    kv_used_ratio: float = 0.0


class PoolMetrics(NamedTuple):
    """One pool since the scaler's last decision."""

    ready: int
    """Replicas that serve."""
    starting: int = 0
    draining: int = 0
    samples: tuple[ReplicaFigures, ...] = ()
    """Of ready replicas; in a run one of which nothing is visible yet shows zeros."""
    in_flight: float = 0.0
    """Requests sent to the pool that the router has not seen end: the mean over the time since the last decision."""
    queued: float = 0.0
    """Requests of the pool's model that wait at the router; the mean, too.  Pools of one model all see them."""
    arrivals: float = 0.0
    """Requests of the pool's model that have arrived since the last decision."""
    prompt_tokens: float = 0.0
    """Tokens of the prompts of those."""
    ended: float = 0.0
    """Requests of the pool that have ended since the last decision."""
    output_tokens: float = 0.0
    """Tokens that those have generated."""
    ttft_s: float | None = None
    """Mean time to first token of the requests that have ended; None if there were none."""
    itl_s: float | None = None
    """Mean time between their later tokens."""

    @property
    def wanted(self) -> int:
        """The replicas that the pool was last told to have: those that serve and those that start."""
        return self.ready + self.starting


class ScalerMetrics(NamedTuple):
    """Everything that a scaler reads for one decision."""

    interval_ns: int
    """Time since its last decision, or since the start."""
    pools: Mapping[str, PoolMetrics]

    def total(self, pool: str, metric: MetricName) -> float:
        """Return a metric summed over a pool; rates are per second of the interval."""
        figures = self.pools[pool]
        if metric == "running":
            return sum(sample.running for sample in figures.samples)
        if metric == "waiting":
            return sum(sample.waiting for sample in figures.samples)
        if metric == "kv_used_ratio":
            return sum(sample.kv_used_ratio for sample in figures.samples)
        if metric == "in_flight":
            return figures.in_flight + figures.queued
        if metric == "queued":
            return figures.queued
        count = figures.arrivals if metric == "requests_per_s" else figures.prompt_tokens + figures.output_tokens
        return count * 1e9 / self.interval_ns if self.interval_ns else 0.0
