"""Scorer of waiting requests against a threshold.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/load_aware.go``.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class LoadAwareOptions(PartOptions):
    """Half for an empty queue, and less the longer it is: 0.5 (1 - waiting / threshold), not below 0."""

    type: Literal["load-aware-scorer"] = "load-aware-scorer"
    threshold: int = Field(128, ge=1, le=1 << 31, description="Waiting requests from which on the score is 0.")


@SCORERS.register("load-aware-scorer", LoadAwareOptions)
class LoadAwareScorer(Scorer):
    """Half a point for nobody waiting, none from the threshold on."""

    sampled_fields: ClassVar = ("waiting",)

    def __init__(self, options: LoadAwareOptions, context: PartContext) -> None:
        super().__init__(context)
        self._threshold = options.threshold

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the linear fall from 0.5 to 0."""
        waiting = decision.endpoints.of(positions, decision.endpoints.waiting)
        result: Scores = 0.5 * np.maximum(0.0, 1.0 - waiting / self._threshold)
        return result
