"""Scorer of predicted latency against the request's objectives.

Source: llm-d-inference-scheduler, the latency-scorer; before, gateway-api-inference-extension,
``pkg/epp/scheduling/framework/plugins/multi/slo_aware_router``.
"""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.latency_predictions import Headrooms, LatencyPredictor
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer
from cluster_sim.routing.endpoint_picker.scaling import fewest_first


class LatencyOptions(PartOptions):
    """Headroom of predicted TTFT and TPOT to the objectives; KV, queue and prefix scores without predictions."""

    type: Literal["latency-scorer"] = "latency-scorer"
    ttft_weight: float = Field(
        0.8,
        ge=0,
        le=1e6,
        validation_alias=AliasChoices("ttftWeight", "headroomTTFTWeight", "ttft_weight"),
        description="Weight of the headroom in TTFT.",
    )
    tpot_weight: float = Field(
        0.2,
        ge=0,
        le=1e6,
        validation_alias=AliasChoices("tpotWeight", "headroomTPOTWeight", "tpot_weight"),
        description="Weight of the headroom in TPOT.",
    )
    strategy: Literal["least", "most"] = Field(
        "least",
        validation_alias=AliasChoices("strategy", "headroomSelectionStrategy", "headroomStrategy"),
        description="Prefer the endpoint closest to the objectives, which packs requests, or the one furthest.",
    )
    composite_kv_weight: float = Field(1.0, ge=0, le=1e6, description="Weight of the KV score without predictions.")
    composite_queue_weight: float = Field(1.0, ge=0, le=1e6, description="Weight of the queue score.")
    composite_prefix_weight: float = Field(1.0, ge=0, le=1e6, description="Weight of the prefix score.")


@SCORERS.register("latency-scorer", LatencyOptions)
class LatencyScorer(Scorer):
    """Endpoints that keep the objectives, those nearest to them first."""

    sampled_fields: ClassVar = ("running", "waiting", "kv_used_ratio")
    counts_first_tokens: ClassVar = True
    predicts_latencies: ClassVar = True

    def __init__(self, options: LatencyOptions, context: PartContext) -> None:
        super().__init__(context)
        self._options = options
        self._predictor = LatencyPredictor(context)
        self._prefixes = context.prefixes

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the score by headroom, or the composite one."""
        if not self._predictor.is_known():
            return self._composite(decision, positions)
        return headroom_scores(
            self._predictor.headrooms(decision, positions),
            (self._options.ttft_weight, self._options.tpot_weight),
            prefers_most=self._options.strategy == "most",
        )

    def _composite(self, decision: Decision, positions: Positions) -> Scores:
        options, endpoints = self._options, decision.endpoints
        weights = (options.composite_kv_weight, options.composite_queue_weight, options.composite_prefix_weight)
        source = self._prefixes("")
        prefix: Scores = np.zeros(len(positions))
        if source is not None:
            prefix = source.matched_blocks(decision)[positions] / max(1, source.prompt_blocks(decision))
        kv, queue = 1.0 - endpoints.kv_used[positions], fewest_first(endpoints.waiting[positions])
        total: Scores = weights[0] * kv + weights[1] * queue + weights[2] * prefix
        return total / max(sum(weights), 1e-9)


def headroom_scores(headrooms: Headrooms, weights: tuple[float, float], *, prefers_most: bool) -> Scores:
    """Return scores of endpoints with headroom; where some have it, those without score 0.

    Where none has it, the smallest deficit is the best, whatever is preferred.
    """
    positive = headrooms.is_positive
    if positive.any():
        combined = _combined([each[positive] for each in headrooms], weights)
        scores = np.zeros(len(positive))
        scores[positive] = combined if prefers_most else 1.0 - combined
        return scores
    return 1.0 - _combined([np.maximum(0.0, -each) for each in headrooms], weights)


def _combined(dimensions: list[NDArray[np.float64]], weights: tuple[float, float]) -> NDArray[np.float64]:
    """Return the weighted mean of the dimensions, each scaled to [0, 1]; one without range has no weight."""
    total, sum_of_weights = np.zeros(len(dimensions[0])), 0.0
    for values, weight in zip(dimensions, weights, strict=True):
        least = values.min()
        span = values.max() - least
        if span > 0:
            total += weight * (values - least) / span
            sum_of_weights += weight
    return total / sum_of_weights if sum_of_weights else total
