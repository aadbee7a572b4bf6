"""Oracle: knows the load to come and starts replicas in time; the yardstick of real scalers.

At every tick it looks at the load from now until a replica that it would start at the next tick could serve, and has
the replicas that the highest bin of that stretch takes, at a given capacity of a replica.  So no replica is late, and
none is stopped that would be needed again before it could be back.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.scaling.load_curve import LoadBin, LoadCurve
from cluster_sim.routing.scaling.metrics import ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import (
    SCALERS,
    AutoscalerOptions,
    ScaledPool,
    Scaler,
    clamped,
    next_multiple,
)
from cluster_sim.units import NS_PER_S


class OracleOptions(AutoscalerOptions):
    """Knows the load to come; the yardstick of the others."""

    kind: Literal["oracle"] = Field("oracle", description="Knows the load to come.")
    interval_s: float = Field(10.0, gt=0, le=LONGEST_RUN_S, description="Time between two decisions.")
    bin_s: float = Field(10.0, gt=0, le=LONGEST_RUN_S, description="Time over which the load is averaged.")
    requests_per_s: float | None = Field(None, gt=0, le=1e9, description="Requests that a replica serves in a second.")
    tokens_per_s: float | None = Field(
        None, gt=0, le=1e12, description="Tokens (prompts and outputs) that a replica serves in a second."
    )

    example: ClassVar[Mapping[str, Any]] = {"requests_per_s": 2.0}

    @model_validator(mode="after")
    def _check_capacity(self) -> Self:
        if self.requests_per_s is None and self.tokens_per_s is None:
            raise ValueError("requests_per_s: give it, or tokens_per_s, or both: the capacity of a replica")
        return self


@SCALERS.register("oracle", OracleOptions)
class Oracle(Scaler):
    """Has the replicas that the load to come takes."""

    knows_load = True

    def __init__(self, options: OracleOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._options = options
        self._by_model = {
            model: [pool for pool in pools if pool.model == model] for model in dict.fromkeys(p.model for p in pools)
        }

    @property
    def bin_ns(self) -> int:
        """Length of the bins in which it is given the load to come."""
        return max(1, round(self._options.bin_s * NS_PER_S))

    @property
    def first_ns(self) -> int:
        """The start."""
        return 0

    def next_ns(self, now_ns: int) -> int:
        """Return the next multiple of the interval."""
        return next_multiple(now_ns, self._options.interval_s)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what the load to come takes: the pools of a model are filled in their order."""
        assert self.load is not None, "the oracle is given the load"
        desired = {}
        for model, pools in self._by_model.items():
            models = {model, ""} if len(self._by_model) == 1 else {model}
            ahead_ns = max(pool.cold_start_ns for pool in pools)
            needed = self._replicas(self.load.peak(models, now_ns, self.next_ns(now_ns) + ahead_ns))
            for pool in pools:
                desired[pool.name] = clamped(needed, pool)
                needed = max(0, needed - desired[pool.name])
        return desired

    def _replicas(self, peak: LoadBin) -> int:
        """Return the replicas that one bin of load takes."""
        options, bin_s = self._options, self.bin_ns / NS_PER_S
        by_requests = peak.requests / bin_s / options.requests_per_s if options.requests_per_s else 0.0
        tokens = peak.prompt_tokens + peak.output_tokens
        by_tokens = tokens / bin_s / options.tokens_per_s if options.tokens_per_s else 0.0
        return ceil(max(by_requests, by_tokens))
