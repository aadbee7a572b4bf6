"""Decider of the encode stage.

Source: llm-d-inference-scheduler, the always-disagg-multimodal-decider.
"""

from typing import Literal

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import ENDPOINT_DECIDERS, Decider, PartContext, PartOptions


class MultimodalOptions(PartOptions):
    """Requests with images or sound are split; encoders are those of `fleet.encoders`."""

    type: Literal["always-disagg-multimodal-decider"] = "always-disagg-multimodal-decider"


@ENDPOINT_DECIDERS.register("always-disagg-multimodal-decider", MultimodalOptions)
class MultimodalDecider(Decider):
    """Whatever has encoder tokens, computed already or not."""

    def __init__(self, options: MultimodalOptions, context: PartContext) -> None:
        super().__init__(context)

    def is_split(self, decision: Decision, decode: int) -> bool:
        attributes = decision.request.attributes
        return attributes.encoder_tokens + attributes.encoded_tokens > 0
