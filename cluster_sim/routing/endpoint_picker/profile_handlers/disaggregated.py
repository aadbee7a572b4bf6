"""Handler of profiles for decoding and for prompts: the decode profile first, the prefill profile if a decider says so.

Source: llm-d-inference-scheduler, ``pkg/plugins/profile/disagg_profile_handler.go``.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, Field

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.decode_first import DecodeFirstHandler
from cluster_sim.routing.endpoint_picker.parts import PROFILE_HANDLERS, PartContext, PartOptions


class Deciders(ConfigModel):
    """Parts that decide whether a stage runs."""

    model_config = ConfigDict(extra="ignore")

    prefill: str = Field("", description="Decider of the prefill stage; empty leaves the stage out.")
    encode: str = Field("", description="Decider of the encode stage; it chooses nothing, see fleet.encoders.")


class ProfileNames(ConfigModel):
    """Names of the profiles."""

    model_config = ConfigDict(extra="ignore")

    decode: str = Field("decode", description="Profile of the endpoint that decodes.")
    prefill: str = Field("prefill", description="Profile of the endpoint that computes the prompt.")
    encode: str = Field("encode", description="Profile of the endpoint that encodes; it chooses nothing.")


class DisaggregatedOptions(PartOptions):
    """Decode profile first, then the prefill profile if the decider asks for it."""

    type: Literal["disagg-profile-handler"] = "disagg-profile-handler"
    profiles: ProfileNames = Field(ProfileNames(), description="Names of the profiles.")
    deciders: Deciders = Field(Deciders(), description="Parts that decide whether a stage runs.")


@PROFILE_HANDLERS.register("disagg-profile-handler", DisaggregatedOptions)
class DisaggregatedHandler(DecodeFirstHandler):
    """Decode, then prefill."""

    def __init__(self, options: DisaggregatedOptions, context: PartContext) -> None:
        names = options.profiles
        super().__init__(context, names.decode, names.prefill, options.deciders.prefill)

    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        decode, prefill, decider = self._decode_profile, self._prefill_profile, self.decider()
        if decode not in known:
            raise InputError(f"has no profile {decode!r}, which {self.name} runs first; it has {', '.join(known)}")
        if decider is None:
            return [decode]
        if prefill not in known:
            raise InputError(f"has no profile {prefill!r}, which {self.name} runs if {decider.name} decides so")
        return [decode, prefill]

    def is_split(self, decision: Decision, decode: int) -> bool:
        decider = self.decider()
        return decider is not None and decider.is_split(decision, decode)
