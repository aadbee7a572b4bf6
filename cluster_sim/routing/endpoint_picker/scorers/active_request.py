"""Scorer of requests in flight, by the router's own count.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/active_request.go``.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class ActiveRequestOptions(PartOptions):
    """Fewest requests in flight by own count: 1 up to idleThreshold, else maxBusyScore (max - n) / max."""

    type: Literal["active-request-scorer"] = "active-request-scorer"
    idle_threshold: int = Field(0, ge=0, le=1 << 31, description="Requests in flight up to which the score is 1.")
    max_busy_score: float = Field(1.0, ge=0, le=1, description="Score that a busier endpoint comes close to.")


@SCORERS.register("active-request-scorer", ActiveRequestOptions)
class ActiveRequestScorer(Scorer):
    """The fewer were sent there and have not come back, the better."""

    counts_requests: ClassVar = True

    def __init__(self, options: ActiveRequestOptions, context: PartContext) -> None:
        super().__init__(context)
        self._idle, self._busy = options.idle_threshold, options.max_busy_score

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return 1 for idle endpoints, and for others the linear scale from the busiest one."""
        counts = decision.endpoints.of(positions, decision.endpoints.in_flight)
        most = counts.max()
        if most <= self._idle:
            return np.ones(len(counts))
        return np.where(counts <= self._idle, 1.0, self._busy * (most - counts) / most)
