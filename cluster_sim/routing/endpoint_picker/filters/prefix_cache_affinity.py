"""Filter of endpoints that have most of the prompt cached.

Source: llm-d-inference-scheduler, the prefix-cache-affinity-filter.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import AliasChoices, Field

from cluster_sim.engine.draws import draw_u64
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.latency_predictions import LatencyPredictor
from cluster_sim.routing.endpoint_picker.parts import FILTERS, Filter, PartContext, PartOptions
from cluster_sim.units import NS_PER_MS


class PrefixCacheAffinityOptions(PartOptions):
    """Endpoints that match most of the prompt, unless they would take much longer to the first token; or everybody."""

    type: Literal["prefix-cache-affinity-filter"] = "prefix-cache-affinity-filter"
    affinity_threshold: float = Field(
        0.80,
        ge=0,
        le=1,
        validation_alias=AliasChoices("affinityThreshold", "threshold", "affinityGateTau", "affinity_threshold"),
        description="Least share of the prompt that a sticky endpoint matches.",
    )
    exploration_probability: float = Field(
        0.01,
        ge=0,
        le=1,
        validation_alias=AliasChoices(
            "explorationProbability", "epsilon", "epsilonExploreSticky", "exploration_probability"
        ),
        description="Probability of keeping everybody, to explore.",
    )
    max_ttft_penalty_ms: float = Field(
        5000.0,
        ge=0,
        le=1e9,
        validation_alias=AliasChoices("maxTTFTPenaltyMs", "affinityMaxTTFTPenaltyMs", "max_ttft_penalty_ms"),
        description="Most that the best sticky endpoint's predicted TTFT may lie above the best other's.",
    )


@FILTERS.register("prefix-cache-affinity-filter", PrefixCacheAffinityOptions)
class PrefixCacheAffinityFilter(Filter):
    """The sticky ones."""

    counts_first_tokens: ClassVar = True
    predicts_latencies: ClassVar = True

    def __init__(self, options: PrefixCacheAffinityOptions, context: PartContext) -> None:
        super().__init__(context)
        self._options = options
        self._most_draw = round(options.exploration_probability * (1 << 64))
        self._key = context.stream("explore")
        self._prefixes = context.prefixes
        self._predictor = LatencyPredictor(context)

    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the sticky endpoints, or all."""
        source = self._prefixes("")
        if source is None:
            return positions
        share = source.matched_blocks(decision)[positions] / max(1, source.prompt_blocks(decision))
        is_sticky = share >= self._options.affinity_threshold
        if not is_sticky.any() or draw_u64(self._key, decision.request.request_id) < self._most_draw:
            return positions
        sticky, others = positions[is_sticky], positions[~is_sticky]
        if len(others) and self._predictor.is_known():
            penalty_ns = np.min(self._predictor.ttft_ns(decision, sticky)) - np.min(
                self._predictor.ttft_ns(decision, others)
            )
            if penalty_ns > self._options.max_ttft_penalty_ms * NS_PER_MS:
                return positions
        return sticky
