"""Scorer of prompt tokens in flight, by the router's own estimate.

Source: llm-d-inference-scheduler, the token-load-scorer.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class TokenLoadOptions(PartOptions):
    """Fewest uncached prompt tokens in flight by own estimate: 1 - min(1, tokens / threshold)."""

    type: Literal["token-load-scorer"] = "token-load-scorer"
    queue_threshold_tokens: int = Field(
        4_194_304, ge=1, le=1 << 50, description="Tokens in flight from which on the score is 0."
    )
    adds_request: bool = Field(
        False, description="Whether the uncached tokens of the request itself count too, as in newer versions."
    )


@SCORERS.register("token-load-scorer", TokenLoadOptions)
class TokenLoadScorer(Scorer):
    """The fewer tokens there are still to compute, the better."""

    counts_requests: ClassVar = True

    def __init__(self, options: TokenLoadOptions, context: PartContext) -> None:
        super().__init__(context)
        self._threshold, self._adds_request = options.queue_threshold_tokens, options.adds_request
        self._prefixes = context.prefixes

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the linear fall to 0 at the threshold."""
        tokens = decision.endpoints.of(positions, decision.endpoints.in_flight_tokens)
        if self._adds_request:
            source = self._prefixes("")
            own = source.uncached_tokens(decision)[positions] if source else decision.request.prompt_tokens
            tokens = tokens + own
        result: Scores = 1.0 - np.minimum(1.0, tokens / self._threshold)
        return result
