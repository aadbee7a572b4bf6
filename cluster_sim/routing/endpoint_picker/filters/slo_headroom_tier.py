"""Filter of endpoints that are predicted to keep the request's objectives.

Source: llm-d-inference-scheduler, the slo-headroom-tier-filter.
"""

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from cluster_sim.engine.draws import draw_u64
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.latency_predictions import LatencyPredictor
from cluster_sim.routing.endpoint_picker.parts import FILTERS, Filter, PartContext, PartOptions


class SloHeadroomTierOptions(PartOptions):
    """Endpoints with headroom to the objectives; without any, idle ones, then those that miss TPOT, TTFT, or both."""

    type: Literal["slo-headroom-tier-filter"] = "slo-headroom-tier-filter"
    epsilon: float = Field(
        0.01,
        ge=0,
        le=1,
        validation_alias=AliasChoices("epsilon", "epsilonExploreNeg", "epsilonExploreNegative"),
        description="Probability of taking the endpoints without headroom, to explore.",
    )


@FILTERS.register("slo-headroom-tier-filter", SloHeadroomTierOptions)
class SloHeadroomTierFilter(Filter):
    """The best tier that anybody is in; everybody without predictions."""

    sampled_fields: ClassVar = ("running",)
    counts_requests: ClassVar = True
    counts_first_tokens: ClassVar = True
    predicts_latencies: ClassVar = True

    def __init__(self, options: SloHeadroomTierOptions, context: PartContext) -> None:
        super().__init__(context)
        self._most_draw = round(options.epsilon * (1 << 64))
        self._key = context.stream("explore")
        self._predictor = LatencyPredictor(context)

    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the endpoints of the tier."""
        if not self._predictor.is_known():
            return positions
        headrooms = self._predictor.headrooms(decision, positions)
        positive = headrooms.is_positive
        if positive.any():
            explores = draw_u64(self._key, decision.request.request_id) < self._most_draw
            tier = ~positive if explores and not positive.all() else positive
            return positions[tier]
        is_idle = decision.endpoints.in_flight[positions] == 0
        for tier in (is_idle, headrooms.ttft_ns >= 0, headrooms.tpot_ns >= 0):
            if tier.any():
                return positions[tier]
        return positions
