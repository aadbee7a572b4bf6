"""Picker at random.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/picker/random_picker.go``.
"""

from typing import Literal

from cluster_sim.engine.draws import draw_below
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import PICKERS, PartContext, PartOptions, Picker


class RandomOptions(PartOptions):
    """Any endpoint, each as likely."""

    type: Literal["random-picker"] = "random-picker"


@PICKERS.register("random-picker", RandomOptions)
class RandomPicker(Picker):
    """A uniform draw."""

    def __init__(self, options: RandomOptions, context: PartContext) -> None:
        super().__init__(context)

    def pick(self, decision: Decision, positions: Positions, scores: Scores, profile: str) -> int:
        """Return an endpoint whatever its score."""
        return int(positions[draw_below(self.stream(profile), decision.request.request_id, len(positions))])
