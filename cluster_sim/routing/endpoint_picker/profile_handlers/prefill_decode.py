"""Older handler of profiles for decoding and for prompts.

Source: llm-d-inference-scheduler up to 0.4, ``pkg/plugins/profile/pd_profile_handler.go``.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.parts import (
    PROFILE_HANDLERS,
    Decider,
    PartContext,
    PartOptions,
    ProfileHandler,
    RunProfile,
)


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
class PrefillDecodeHandler(ProfileHandler):
    """Decode, then prefill unless little is left to compute."""

    def __init__(self, options: PrefillDecodeOptions, context: PartContext) -> None:
        super().__init__(context)
        self._options = options
        self._find, self._prefixes = context.find, context.prefixes

    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        names = [self._options.decode_profile, self._options.prefill_profile]
        for name in names:
            if name not in known:
                raise InputError(f"has no profile {name!r}, which {self.name} runs; it has {', '.join(known)}")
        self._decider()
        return names

    def select(
        self, decision: Decision, run: RunProfile, decoding: Positions | None, prefilling: Positions | None
    ) -> Selection | None:
        decode = run(self._options.decode_profile, decision, decoding)
        if decode < 0:
            return None
        decider = self._decider()
        is_split = decider.is_split(decision, decode) if decider else self._is_long(decision, decode)
        if not is_split:
            return Selection(decode)
        prefill = run(self._options.prefill_profile, decision, prefilling)
        return Selection(decode, -1 if prefill == decode else prefill)

    def _is_long(self, decision: Decision, decode: int) -> bool:
        if not self._options.threshold:
            return True
        source = self._prefixes(self._options.prefix_plugin_name)
        tokens = source.uncached_at(decision, decode) if source else decision.request.prompt_tokens
        return tokens >= self._options.threshold

    def _decider(self) -> Decider | None:
        name = self._options.decider_plugin_name
        decider = self._find(name) if name else None
        if name and not isinstance(decider, Decider):
            raise InputError(f"names the decider {name!r}, which the file does not have")
        return decider if isinstance(decider, Decider) else None
