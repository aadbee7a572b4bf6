"""NVIDIA Dynamo's SLA planner: prefill and decode replicas from a predicted load and a profile of the engine.

Source: ai-dynamo/dynamo, planner_core of components/planner, and its document on SLA-driven planning.  Every
interval the next number of requests, mean prompt (ISL) and mean output (OSL) are predicted.  Then

    prefill = ceil(requests x ISL / interval x min(1, c_p) / (throughput per GPU at ISL) / GPUs)
    decode  = ceil(requests x OSL / interval / (best throughput per GPU with ITL <= SLA / c_d at ISL + OSL / 2) / GPUs)

with c_p = measured TTFT over the profile's and c_d = measured ITL over the profile's at the present concurrency.  Over
the GPU budget all are scaled down in proportion.  Without traffic nothing changes.  A pool of role ``both`` gets the
sum of both shares, which the planner's source does not have.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.load_prediction import LoadPredictor, PredictorName
from cluster_sim.routing.scaling.metrics import PoolMetrics, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import (
    SCALERS,
    AutoscalerOptions,
    ScaledPool,
    Scaler,
    clamped,
    next_multiple,
)

_SERIES = ("arrivals", "prompt", "output")


class PrefillPoint(ConfigModel):
    """Prefill of one GPU at one length."""

    prompt_tokens: int = Field(ge=1, le=100_000_000, description="Length of the prompt.")
    tokens_per_s: float = Field(gt=0, le=1e9, description="Prompt tokens that one GPU computes in a second.")
    ttft_ms: float = Field(gt=0, le=1e9, description="Time to first token without a queue.")


class DecodePoint(ConfigModel):
    """Decode of one GPU at one context and batch."""

    context_tokens: int = Field(ge=1, le=100_000_000, description="Mean context of the batch.")
    itl_ms: float = Field(gt=0, le=1e9, description="Time between two tokens of a request.")
    tokens_per_s: float = Field(gt=0, le=1e9, description="Tokens that one GPU generates in a second.")

    @property
    def concurrency(self) -> float:
        """Requests that one GPU decodes at a time, by Little's law."""
        return self.tokens_per_s * self.itl_ms / 1e3


class DynamoPlannerOptions(AutoscalerOptions):
    """Dynamo's SLA planner: predicted load over profiled throughput, within limits of TTFT and ITL."""

    kind: Literal["dynamo_planner"] = Field("dynamo_planner", description="NVIDIA Dynamo's SLA planner.")
    interval_s: float = Field(180.0, gt=0, le=LONGEST_RUN_S, description="Time between two decisions.")
    itl_ms: float = Field(50.0, gt=0, le=1e9, description="Limit of the time between two tokens.")
    predictor: PredictorName = Field(
        "constant", description="Prediction of the next interval: its last value, a mean, or a small ARIMA model."
    )
    window: int = Field(50, ge=1, le=10_000, description="Intervals that the predictor looks back.")
    corrects: bool = Field(True, description="Whether measured TTFT and ITL correct the profile.")
    prefill_profile: tuple[PrefillPoint, ...] = Field(min_length=1, description="Throughput of prefill by length.")
    decode_profile: tuple[DecodePoint, ...] = Field(
        min_length=1, description="Throughput of decode by context and ITL."
    )

    example: ClassVar[Mapping[str, Any]] = {
        "prefill_profile": [{"prompt_tokens": 1000, "tokens_per_s": 10000, "ttft_ms": 100}],
        "decode_profile": [{"context_tokens": 1500, "itl_ms": 20, "tokens_per_s": 1000}],
    }


def _interpolated(points: Sequence[tuple[float, float]], where: float) -> float:
    """Return the value at ``where`` on the line through sorted points; beyond them that of the nearest."""
    if where <= points[0][0]:
        return points[0][1]
    for (left, first), (right, second) in pairwise(points):
        if where <= right:
            return first + (second - first) * (where - left) / (right - left)
    return points[-1][1]


class _Model:
    """The pools of one model."""

    def __init__(self, options: DynamoPlannerOptions, pools: Sequence[ScaledPool]) -> None:
        self._options = options
        self._pools = pools
        self._predictors = {name: LoadPredictor(options.predictor, options.window) for name in _SERIES}
        points = sorted(options.prefill_profile, key=lambda point: point.prompt_tokens)
        self._prefill_rate = [(float(point.prompt_tokens), point.tokens_per_s) for point in points]
        self._prefill_ttft_s = [(float(point.prompt_tokens), point.ttft_ms / 1e3) for point in points]

    def decide(self, metrics: ScalerMetrics) -> dict[str, int]:
        """Return the replicas that each pool should have; those that it has where there was no traffic."""
        figures = [metrics.pools[pool.name] for pool in self._pools]
        arrivals = max(pool.arrivals for pool in figures)
        if not arrivals:
            return {pool.name: metrics.pools[pool.name].wanted for pool in self._pools}
        ended = sum(pool.ended for pool in figures)
        self._predictors["arrivals"].observe(arrivals)
        self._predictors["prompt"].observe(max(pool.prompt_tokens for pool in figures) / arrivals)
        if ended:
            self._predictors["output"].observe(sum(pool.output_tokens for pool in figures) / ended)
        requests, prompt, output = (self._predictors[name].predict() for name in _SERIES)
        per_s = requests * 1e9 / metrics.interval_ns if metrics.interval_ns else 0.0
        prefill_gpus = (
            per_s * prompt * self._prefill_correction(figures, prompt) / _interpolated(self._prefill_rate, prompt)
        )
        context = prompt + output / 2
        decode_gpus = per_s * output / self._best_decode(context, self._decode_correction(metrics, context))
        share = {"prefill": prefill_gpus, "decode": decode_gpus}
        return {
            pool.name: clamped(ceil(share.get(pool.role, prefill_gpus + decode_gpus) / pool.gpus_per_replica), pool)
            for pool in self._pools
        }

    def _prefill_correction(self, figures: Sequence[PoolMetrics], prompt: float) -> float:
        """Return measured over profiled TTFT, at most 1."""
        measured = [pool.ttft_s for pool in figures if pool.ttft_s is not None]
        if not measured or not self._options.corrects:
            return 1.0
        return min(1.0, max(measured) / _interpolated(self._prefill_ttft_s, prompt))

    def _decode_correction(self, metrics: ScalerMetrics, context: float) -> float:
        """Return measured over profiled ITL at the present concurrency."""
        points = sorted((point.concurrency, point.itl_ms / 1e3) for point in self._at_context(context))
        for pool in self._pools:
            figures = metrics.pools[pool.name]
            if pool.role != "prefill" and figures.itl_s is not None and figures.ready and self._options.corrects:
                concurrency = figures.in_flight / (figures.ready * pool.gpus_per_replica)
                return max(figures.itl_s / _interpolated(points, concurrency), 1e-6)
        return 1.0

    def _best_decode(self, context: float, correction: float) -> float:
        """Return the highest throughput within the limit of ITL; that of the lowest ITL where none is."""
        points = self._at_context(context)
        within = [point for point in points if point.itl_ms <= self._options.itl_ms / correction]
        if within:
            return max(point.tokens_per_s for point in within)
        return min(points, key=lambda point: point.itl_ms).tokens_per_s

    def _at_context(self, context: float) -> list[DecodePoint]:
        """Return the points of the smallest profiled context that is not below ``context``, or of the largest."""
        contexts = sorted({point.context_tokens for point in self._options.decode_profile})
        chosen = next((length for length in contexts if length >= context), contexts[-1])
        return [point for point in self._options.decode_profile if point.context_tokens == chosen]


@SCALERS.register("dynamo_planner", DynamoPlannerOptions)
class DynamoPlanner(Scaler):
    """Plans the pools of every model within one GPU budget."""

    def __init__(
        self, options: DynamoPlannerOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None
    ) -> None:
        super().__init__(options, pools, load)
        self._interval_s = options.interval_s
        self._budget = options.gpu_budget
        by_model: dict[str, list[ScaledPool]] = {}
        for pool in pools:
            same = by_model.setdefault(pool.model, [])
            if any(other.role == pool.role for other in same):
                raise InputError(
                    f"autoscaler.pools: the planner takes one pool of role {pool.role} for each model, and "
                    f"{pool.model} has several; name the pools that it acts on"
                )
            same.append(pool)
        self._models = [_Model(options, same) for same in by_model.values()]

    def next_ns(self, now_ns: int) -> int:
        """Return the next multiple of the interval."""
        return next_multiple(now_ns, self._interval_s)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what the models ask for, scaled down in proportion where that is over the budget."""
        desired = {name: count for model in self._models for name, count in model.decide(metrics).items()}
        total = sum(desired[pool.name] * pool.gpus_per_replica for pool in self.pools)
        if self._budget is None or total <= self._budget:
            return desired
        share, left = self._budget / total, self._budget
        for pool in self.pools[:-1]:
            desired[pool.name] = max(pool.min_replicas, round(desired[pool.name] * share))
            left -= desired[pool.name] * pool.gpus_per_replica
        last = self.pools[-1]
        desired[last.name] = max(last.min_replicas, left // last.gpus_per_replica)
        return desired
