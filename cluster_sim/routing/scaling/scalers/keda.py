"""KEDA: queries that drive a horizontal pod autoscaler, and scaling to and from zero beside it.

Source: KEDA, pkg/scaling/executor/scale_scaledobjects.go and its ScaledObject reference.  Every polling interval the
triggers are asked whether they are active (metric above the activation threshold).  From 0 an active trigger brings the
pool to 1 (or its minimum); with a minimum of 0 a pool whose triggers have been inactive for the cooldown goes to 0.
Between 1 and the maximum an HPA with the metrics as External metrics with AverageValue decides: desired =
ceil(metric / threshold).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import SAMPLED_METRICS, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import SCALERS, ScaledPool, Scaler, next_multiple
from cluster_sim.routing.scaling.scalers.hpa import HorizontalLoop, HorizontalOptions, MetricTarget
from cluster_sim.units import NS_PER_S


class Trigger(MetricTarget):
    """A query with its threshold."""

    activation: float = Field(
        0.0, ge=0, le=1e12, description="Total above which the trigger is active, for scaling to and from zero."
    )


class KedaOptions(HorizontalOptions):
    """KEDA: an HPA on queries, with scaling to and from zero."""

    kind: Literal["keda"] = Field("keda", description="KEDA.")
    triggers: tuple[Trigger, ...] = Field(min_length=1, description="Queries; the one that asks for most wins.")
    polling_interval_s: float = Field(
        30.0, gt=0, le=LONGEST_RUN_S, description="Time between two looks at whether a trigger is active."
    )
    cooldown_s: float = Field(
        300.0, ge=0, le=LONGEST_RUN_S, description="Time without an active trigger after which a pool goes to zero."
    )

    example: ClassVar[Mapping[str, Any]] = {"triggers": [{"metric": "in_flight", "target": 16}]}


class _Loop:
    """KEDA for one pool."""

    def __init__(self, options: KedaOptions, pool: ScaledPool) -> None:
        self._options = options
        self._pool = pool
        self._horizontal = HorizontalLoop(options, options.triggers, pool)
        self._active_ns = 0
        """When a trigger was last seen active; the start counts, as a fresh ScaledObject does."""

    def decide(self, metrics: ScalerMetrics, now_ns: int, *, polls: bool, syncs: bool) -> int:
        """Return the replicas that the pool should have."""
        current = metrics.pools[self._pool.name].wanted
        if polls:
            is_active = any(
                metrics.total(self._pool.name, trigger.metric) > trigger.activation
                for trigger in self._options.triggers
            )
            if is_active:
                self._active_ns = now_ns
            if current == 0:
                return max(1, self._pool.min_replicas) if is_active else 0
            idle_ns = now_ns - self._active_ns
            if not is_active and not self._pool.min_replicas and idle_ns > self._options.cooldown_s * NS_PER_S:
                return 0
        return self._horizontal.decide(metrics, now_ns) if syncs else current


@SCALERS.register("keda", KedaOptions)
class Keda(Scaler):
    """One ScaledObject for each pool, all with the same options."""

    def __init__(self, options: KedaOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._polling_s = options.polling_interval_s
        self._sync_s = options.sync_period_s
        self._triggers = options.triggers
        self._loops = {pool.name: _Loop(options, pool) for pool in pools}
        self._next_poll_ns = next_multiple(0, self._polling_s)
        self._next_sync_ns = next_multiple(0, self._sync_s)

    @property
    def samples(self) -> frozenset[str]:
        """The metrics of replicas among its own."""
        return frozenset(trigger.metric for trigger in self._triggers) & SAMPLED_METRICS

    def next_ns(self, now_ns: int) -> int:
        """Return the next multiple of the polling interval or of the sync period."""
        return min(next_multiple(now_ns, self._polling_s), next_multiple(now_ns, self._sync_s))

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what each pool's loop asks for."""
        polls, syncs = now_ns >= self._next_poll_ns, now_ns >= self._next_sync_ns
        if polls:
            self._next_poll_ns = next_multiple(now_ns, self._polling_s)
        if syncs:
            self._next_sync_ns = next_multiple(now_ns, self._sync_s)
        return {name: loop.decide(metrics, now_ns, polls=polls, syncs=syncs) for name, loop in self._loops.items()}
