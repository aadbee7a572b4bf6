"""Picker at random by score.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/picker/weighted_random_picker.go``; the
method is A-Res of Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
"""

from typing import Literal

import numpy as np

from cluster_sim.engine.draws import draw_below, draw_u64
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import PICKERS, PartContext, PartOptions, Picker
from cluster_sim.splitmix64 import GAMMA, splitmix64_array


class WeightedRandomOptions(PartOptions):
    """A draw in proportion to the scores; any endpoint where all score 0."""

    type: Literal["weighted-random-picker"] = "weighted-random-picker"


@PICKERS.register("weighted-random-picker", WeightedRandomOptions)
class WeightedRandomPicker(Picker):
    """Each endpoint draws u in (0, 1), and the largest u^(1/score) wins."""

    def __init__(self, options: WeightedRandomOptions, context: PartContext) -> None:
        super().__init__(context)

    def pick(self, decision: Decision, positions: Positions, scores: Scores, profile: str) -> int:
        """Return an endpoint with a probability in proportion to its score."""
        stream, request_id = self.stream(profile), decision.request.request_id
        if not (scores > 0).any():
            return int(positions[draw_below(stream, request_id, len(positions))])
        key = np.uint64(draw_u64(stream, request_id))
        # The draw of an endpoint does not depend on who else is a candidate.
        bits = splitmix64_array(key + positions.astype(np.uint64) * np.uint64(GAMMA)) >> np.uint64(11)
        uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
        keys = np.full(len(positions), -np.inf)
        np.divide(np.log(uniform), scores, out=keys, where=scores > 0)  # log u / w orders as u^(1/w) does.
        return int(positions[np.argmax(keys)])
