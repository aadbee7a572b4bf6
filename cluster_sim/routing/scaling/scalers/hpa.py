"""Kubernetes' horizontal pod autoscaler.

Source: Kubernetes, pkg/controller/podautoscaler/replica_calculator.go and horizontal.go (autoscaling/v2).  Every sync
period, for each metric: desired = ceil(replicas x metric / target), and no change while the ratio is within the
tolerance of 1.  Replicas that start count with a metric of 0 on the way up and are left out on the way down.  Of
several metrics the largest result wins; ``behavior`` then stabilises and limits it.  A pool of 0 replicas is left
alone.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.scaling.behavior import Behavior, Direction, StepPolicy
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import SAMPLED_METRICS, MetricName, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import (
    SCALERS,
    AutoscalerOptions,
    ScaledPool,
    Scaler,
    clamped,
    next_multiple,
)

SCALE_UP: Final = Direction(
    stabilization_s=0.0,
    policies=(
        StepPolicy(kind="percent", value=100, period_s=15.0),
        StepPolicy(kind="replicas", value=4, period_s=15.0),
    ),
)
"""Kubernetes' default: at most the larger of +100 % and +4 in 15 s."""
SCALE_DOWN: Final = Direction(stabilization_s=300.0, policies=(StepPolicy(kind="percent", value=100, period_s=15.0),))
"""Kubernetes' default: the highest recommendation of 5 minutes, without a limit."""


class MetricTarget(ConfigModel):
    """One metric and what a replica should have of it."""

    metric: MetricName = Field(
        description="running, waiting and kv_used_ratio are means over the sampled replicas (a Pods metric); in_flight "
        "(queued requests included), queued, requests_per_s and tokens_per_s are the router's, divided by the replicas "
        "(an External metric with an AverageValue)."
    )
    target: float = Field(gt=0, le=1e12, description="Value of the metric for each replica.")


class HorizontalOptions(AutoscalerOptions):
    """What HPA and KEDA share."""

    sync_period_s: float = Field(15.0, gt=0, le=LONGEST_RUN_S, description="Time between two decisions.")
    tolerance_ratio: float = Field(
        0.1, ge=0, le=10, description="Deviation of metric over target from 1 that changes nothing."
    )
    scale_up: Direction = Field(SCALE_UP, description="Behaviour on the way up.")
    scale_down: Direction = Field(SCALE_DOWN, description="Behaviour on the way down.")


class HpaOptions(HorizontalOptions):
    """Kubernetes' horizontal pod autoscaler: ratio of metrics to targets, tolerance, stabilisation, policies."""

    kind: Literal["hpa"] = Field("hpa", description="Kubernetes' horizontal pod autoscaler.")
    metrics: tuple[MetricTarget, ...] = Field(min_length=1, description="Metrics; the one that asks for most wins.")

    example: ClassVar[Mapping[str, Any]] = {"metrics": [{"metric": "waiting", "target": 4}]}


class HorizontalLoop:
    """The control loop of one pool."""

    def __init__(self, options: HorizontalOptions, targets: Sequence[MetricTarget], pool: ScaledPool) -> None:
        self._tolerance = options.tolerance_ratio
        self._targets = targets
        self._pool = pool
        self._behavior = Behavior(options.scale_up, options.scale_down)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> int:
        """Return the replicas that the pool should have."""
        current = metrics.pools[self._pool.name].wanted
        if current == 0:
            return 0
        least = max(1, self._pool.min_replicas)
        self._behavior.begin(current, now_ns)
        if not least <= current <= self._pool.max_replicas:
            return clamped(max(current, least), self._pool)
        proposals = [self.proposal(target, metrics) for target in self._targets]
        known = [proposal for proposal in proposals if proposal is not None]
        if not known or (len(known) < len(proposals) and max(known) < current):
            return current  # A metric that cannot be read stops a decrease.
        return self._behavior.apply(current, max(known), least, self._pool.max_replicas, now_ns)

    def proposal(self, target: MetricTarget, metrics: ScalerMetrics) -> int | None:
        """Return the replicas that one metric asks for; None where no replica has been sampled."""
        name = self._pool.name
        current = metrics.pools[name].wanted
        total = metrics.total(name, target.metric)
        if target.metric not in SAMPLED_METRICS:
            is_near = abs(total / (target.target * current) - 1) <= self._tolerance
            return current if is_near else ceil(total / target.target)
        sampled = len(metrics.pools[name].samples)
        if not sampled:
            return None
        unready = current - sampled
        ratio = total / sampled / target.target
        if not unready:
            return current if abs(ratio - 1) <= self._tolerance else ceil(ratio * sampled)
        # Missing ones count as 0 on the way up; on the way down those that start are left out.
        counted = sampled + unready if ratio > 1 else sampled
        cautious = total / counted / target.target
        if abs(cautious - 1) <= self._tolerance or (ratio > 1) != (cautious > 1):
            return current
        proposed = ceil(cautious * counted)
        return max(proposed, current) if cautious > 1 else min(proposed, current)


@SCALERS.register("hpa", HpaOptions)
class Hpa(Scaler):
    """One horizontal pod autoscaler for each pool, all with the same options."""

    def __init__(self, options: HpaOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._period_s = options.sync_period_s
        self._metrics = options.metrics
        self._loops = {pool.name: HorizontalLoop(options, options.metrics, pool) for pool in pools}

    @property
    def samples(self) -> frozenset[str]:
        """The metrics of replicas among its own."""
        return frozenset(target.metric for target in self._metrics) & SAMPLED_METRICS

    def next_ns(self, now_ns: int) -> int:
        """Return the next multiple of the sync period."""
        return next_multiple(now_ns, self._period_s)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what each pool's loop asks for."""
        return {name: loop.decide(metrics, now_ns) for name, loop in self._loops.items()}
