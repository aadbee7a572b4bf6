"""Requests with long prompts (llm-d's ``prompt-length-based-pd-decider``)."""

from typing import Literal

from pydantic import Field

from cluster_sim.routing.handover.decider_interface import DECIDERS, Decider, DeciderOptions, Situation


class PromptLengthOptions(DeciderOptions):
    """Requests whose prompts have at least so many tokens, whatever is cached."""

    kind: Literal["prompt_length"] = Field("prompt_length", description="By the length of the prompt.")
    least_tokens: int = Field(
        512, ge=0, le=1 << 40, description="Fewest tokens of the prompt for which a request is handed over."
    )


@DECIDERS.register("prompt_length", PromptLengthOptions)
class PromptLength(Decider):
    """By the length of the prompt alone."""

    def __init__(self, options: PromptLengthOptions) -> None:
        super().__init__(options)
        self._least_tokens = options.least_tokens

    def hands_over(self, situation: Situation) -> bool:
        """Return whether the prompt is long."""
        return situation.prompt_tokens >= self._least_tokens
