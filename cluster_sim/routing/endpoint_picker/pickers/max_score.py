"""Picker of the highest score.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/picker/max_score_picker.go``.
"""

from typing import Literal

import numpy as np

from cluster_sim.engine.draws import draw_below
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import PICKERS, PartContext, PartOptions, Picker


class MaxScoreOptions(PartOptions):
    """The highest score; of several equal ones a draw."""

    type: Literal["max-score-picker"] = "max-score-picker"


@PICKERS.register("max-score-picker", MaxScoreOptions)
class MaxScorePicker(Picker):
    """The best; ties are drawn."""

    def __init__(self, options: MaxScoreOptions, context: PartContext) -> None:
        super().__init__(context)

    def pick(self, decision: Decision, positions: Positions, scores: Scores, profile: str) -> int:
        """Return the endpoint of the highest score."""
        first = scores.argmax()
        is_best = scores == scores[first]
        if np.count_nonzero(is_best) == 1:
            return int(positions[first])
        best = is_best.nonzero()[0]
        drawn = draw_below(self.stream(profile), decision.request.request_id, len(best))
        return int(positions[best[drawn]])
