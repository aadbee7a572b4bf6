"""Decider by the length of the prompt.

Source: llm-d-inference-scheduler, the prompt-length-based-pd-decider.
"""

from typing import Literal

from pydantic import AliasChoices, Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import ENDPOINT_DECIDERS, Decider, PartContext, PartOptions


class PromptLengthOptions(PartOptions):
    """Split if the prompt has at least so many tokens; 0 never does."""

    type: Literal["prompt-length-based-pd-decider"] = "prompt-length-based-pd-decider"
    prompt_tokens: int = Field(
        0,
        ge=0,
        le=1 << 40,
        validation_alias=AliasChoices(
            "promptTokens", "minPromptTokens", "promptLengthThreshold", "threshold", "prompt_tokens"
        ),
        description="Prompt tokens from which on a prompt is split.",
    )


@ENDPOINT_DECIDERS.register("prompt-length-based-pd-decider", PromptLengthOptions)
class PromptLengthDecider(Decider):
    """Long prompts are computed elsewhere."""

    def __init__(self, options: PromptLengthOptions, context: PartContext) -> None:
        super().__init__(context)
        self._least = options.prompt_tokens

    def is_split(self, decision: Decision, decode: int) -> bool:
        return 0 < self._least <= decision.request.prompt_tokens
