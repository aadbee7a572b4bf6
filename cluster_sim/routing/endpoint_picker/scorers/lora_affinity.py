"""Scorer of LoRA adapters.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/scorer/lora_affinity.go``.
"""

from typing import ClassVar, Literal

import numpy as np

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class LoraAffinityOptions(PartOptions):
    """1 where the request's adapter is active, 0.8 where there is room for one more, 0.6 where it waits, else 0."""

    type: Literal["lora-affinity-scorer"] = "lora-affinity-scorer"


@SCORERS.register("lora-affinity-scorer", LoraAffinityOptions)
class LoraAffinityScorer(Scorer):
    """Requests go where their adapter is, or fits."""

    reads_adapters: ClassVar = True

    def __init__(self, options: LoraAffinityOptions, context: PartContext) -> None:
        super().__init__(context)

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the score of each endpoint's adapters."""
        endpoints, adapter = decision.endpoints, decision.request.attributes.lora
        has_room = endpoints.lora_adapters[positions] < endpoints.lora_slots[positions]
        otherwise = np.where(has_room, 0.8, np.where(endpoints.has_waiting(adapter)[positions], 0.6, 0.0))
        return np.where(endpoints.has_active(adapter)[positions], 1.0, otherwise)
