"""llm-d's workload variant autoscaler, by saturation.

Source: llm-d-incubation/workload-variant-autoscaler, docs on saturation scaling and internal/saturation.  Pools of one
model are its variants.  A replica is saturated at KV usage >= 0.80 or queue >= 5.  Over the others the mean spare KV
usage and queue are computed; below 0.1 or 3 the cheapest variant without pending replicas grows by one.  If one
replica less would still leave that much, the dearest variant shrinks by one.  No variant changes while one of the model
is in transition downwards.  With a minimum of 0 a model without any request for the retention time goes to zero, and a
waiting request brings its cheapest variant back.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import ReplicaFigures, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool, Scaler, next_multiple
from cluster_sim.units import NS_PER_S


class LlmDVariantOptions(AutoscalerOptions):
    """llm-d's workload variant autoscaler: spare KV cache and queue of replicas; the cheapest variant grows."""

    kind: Literal["llm_d_variant"] = Field("llm_d_variant", description="llm-d's workload variant autoscaler.")
    interval_s: float = Field(60.0, gt=0, le=LONGEST_RUN_S, description="Time between two decisions.")
    kv_threshold_ratio: float = Field(0.80, gt=0, le=1, description="KV usage of a saturated replica.")
    queue_threshold: float = Field(5.0, gt=0, le=1e6, description="Waiting requests of a saturated replica.")
    spare_kv_ratio: float = Field(0.1, ge=0, le=1, description="Mean spare KV usage below which the model grows.")
    spare_queue: float = Field(3.0, ge=0, le=1e6, description="Mean spare queue below which the model grows.")
    retention_s: float = Field(
        600.0, ge=0, le=LONGEST_RUN_S, description="Time without a request after which a model goes to zero."
    )


class _Model:
    """The variants of one model."""

    def __init__(self, options: LlmDVariantOptions, variants: Sequence[ScaledPool]) -> None:
        self._options = options
        self._by_cost = sorted(variants, key=lambda pool: pool.usd_per_hour)
        self._may_vanish = not any(pool.min_replicas for pool in variants)
        self._busy_ns = 0
        """When the model last had a request."""

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return the replicas that each variant should have."""
        figures = {pool.name: metrics.pools[pool.name] for pool in self._by_cost}
        desired = {name: pool.wanted for name, pool in figures.items()}
        if any(pool.in_flight or pool.queued or pool.arrivals for pool in figures.values()):
            self._busy_ns = now_ns
        elif self._may_vanish and now_ns - self._busy_ns >= self._options.retention_s * NS_PER_S:
            return dict.fromkeys(desired, 0)
        if not any(desired.values()):
            if any(pool.queued for pool in figures.values()):
                desired[self._by_cost[0].name] = 1
            return desired
        samples = [sample for pool in figures.values() for sample in pool.samples]
        if not samples:
            return desired
        change = self._change(samples)
        if change > 0:
            for pool in self._by_cost:
                if not figures[pool.name].starting and desired[pool.name] < pool.max_replicas:
                    desired[pool.name] += 1
                    break
        elif change < 0 and not any(pool.starting or pool.draining for pool in figures.values()):
            for pool in reversed(self._by_cost):
                if desired[pool.name] > pool.min_replicas:
                    desired[pool.name] -= 1
                    break
        return desired

    def _change(self, samples: Sequence[ReplicaFigures]) -> int:
        """Return 1 where the spare is too small, -1 where one replica less would do, otherwise 0."""
        options = self._options
        calm = [
            sample
            for sample in samples
            if sample.kv_used_ratio < options.kv_threshold_ratio and sample.waiting < options.queue_threshold
        ]
        if not calm:
            return 1
        kv, queue = sum(sample.kv_used_ratio for sample in calm), sum(sample.waiting for sample in calm)
        if not self._has_spare(kv, queue, len(calm)):
            return 1
        return -1 if len(calm) > 1 and self._has_spare(kv, queue, len(calm) - 1) else 0

    def _has_spare(self, kv: float, queue: float, replicas: int) -> bool:
        """Whether loads spread over some replicas leave enough on average."""
        options = self._options
        return (
            options.kv_threshold_ratio - kv / replicas >= options.spare_kv_ratio
            and options.queue_threshold - queue / replicas >= options.spare_queue
        )


@SCALERS.register("llm_d_variant", LlmDVariantOptions)
class LlmDVariant(Scaler):
    """The variants of every model."""

    sampled_fields = frozenset({"waiting", "kv_used_ratio"})

    def __init__(self, options: LlmDVariantOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._interval_s = options.interval_s
        models = dict.fromkeys(pool.model for pool in pools)
        self._models = [_Model(options, [pool for pool in pools if pool.model == model]) for model in models]

    def next_ns(self, now_ns: int) -> int:
        """Return the next multiple of the interval."""
        return next_multiple(now_ns, self._interval_s)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what each model asks for its variants."""
        return {name: replicas for model in self._models for name, replicas in model.decide(metrics, now_ns).items()}
