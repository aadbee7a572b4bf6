"""Older handler of profiles for decoding and for prompts.

Source: llm-d-inference-scheduler up to 0.4, ``pkg/plugins/profile/pd_profile_handler.go``.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.decode_first import DecodeFirstHandler
from cluster_sim.routing.endpoint_picker.parts import PROFILE_HANDLERS, PartContext, PartOptions


class PrefillDecodeOptions(PartOptions):
    """Decode profile first, then the prefill profile unless fewer uncached tokens than a threshold are left."""

    type: Literal["pd-profile-handler"] = "pd-profile-handler"
    threshold: int = Field(
        0, ge=0, le=1 << 40, description="Uncached tokens below which no prefill instance is used; 0 always uses one."
    )
    decode_profile: str = Field("decode", description="Profile of the endpoint that decodes.")
    prefill_profile: str = Field("prefill", description="Profile of the endpoint that computes the prompt.")
    prefix_plugin_name: str = Field("", description="The part that knows matches; the first one if empty.")
    decider_plugin_name: str = Field("", description="Decider in place of the threshold.")


@PROFILE_HANDLERS.register("pd-profile-handler", PrefillDecodeOptions)
class PrefillDecodeHandler(DecodeFirstHandler):
    """Decode, then prefill unless little is left to compute."""

    def __init__(self, options: PrefillDecodeOptions, context: PartContext) -> None:
        super().__init__(context, options.decode_profile, options.prefill_profile, options.decider_plugin_name)
        self._threshold, self._source = options.threshold, options.prefix_plugin_name
        self._prefixes = context.prefixes

    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        names = [self._decode_profile, self._prefill_profile]
        for name in names:
            if name not in known:
                raise InputError(f"has no profile {name!r}, which {self.name} runs; it has {', '.join(known)}")
        self.decider()
        return names

    def is_split(self, decision: Decision, decode: int) -> bool:
        decider = self.decider()
        if decider is not None:
            return decider.is_split(decision, decode)
        if not self._threshold:
            return True
        source = self._prefixes(self._source)
        tokens = source.uncached_at(decision, decode) if source else decision.request.prompt_tokens
        return tokens >= self._threshold
