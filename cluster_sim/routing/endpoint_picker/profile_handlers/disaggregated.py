"""Handler of profiles for decoding and for prompts: the decode profile first, the prefill profile if a decider says so.

Source: llm-d-inference-scheduler, ``pkg/plugins/profile/disagg_profile_handler.go``.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, Field

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
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


class Deciders(ConfigModel):
    """Parts that decide whether a stage runs."""

    model_config = ConfigDict(extra="ignore")

    prefill: str = Field("", description="Decider of the prefill stage; empty leaves the stage out.")
    encode: str = Field("", description="Decider of the encode stage, which is not simulated.")


class ProfileNames(ConfigModel):
    """Names of the profiles."""

    model_config = ConfigDict(extra="ignore")

    decode: str = Field("decode", description="Profile of the endpoint that decodes.")
    prefill: str = Field("prefill", description="Profile of the endpoint that computes the prompt.")
    encode: str = Field("encode", description="Profile of the endpoint that encodes, which is not simulated.")


class DisaggregatedOptions(PartOptions):
    """Decode profile first, then the prefill profile if the decider asks for it."""

    type: Literal["disagg-profile-handler"] = "disagg-profile-handler"
    profiles: ProfileNames = Field(ProfileNames(), description="Names of the profiles.")
    deciders: Deciders = Field(Deciders(), description="Parts that decide whether a stage runs.")


@PROFILE_HANDLERS.register("disagg-profile-handler", DisaggregatedOptions)
class DisaggregatedHandler(ProfileHandler):
    """Decode, then prefill."""

    def __init__(self, options: DisaggregatedOptions, context: PartContext) -> None:
        super().__init__(context)
        self._names = options.profiles
        self._decider_name = options.deciders.prefill
        self._find = context.find
        self._has_prefill = False

    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        decode, prefill = self._names.decode, self._names.prefill
        if decode not in known:
            raise InputError(f"has no profile {decode!r}, which {self.name} runs first; it has {', '.join(known)}")
        decider = self._decider()
        if decider is not None and prefill not in known:
            raise InputError(f"has no profile {prefill!r}, which {self.name} runs if {decider.name} decides so")
        self._has_prefill = decider is not None
        return [decode, prefill] if self._has_prefill else [decode]

    def select(
        self, decision: Decision, run: RunProfile, decoding: Positions | None, prefilling: Positions | None
    ) -> Selection | None:
        decode = run(self._names.decode, decision, decoding)
        if decode < 0:
            return None
        decider = self._decider() if self._has_prefill else None
        if decider is None or not decider.is_split(decision, decode):
            return Selection(decode)
        prefill = run(self._names.prefill, decision, prefilling)
        return Selection(decode, -1 if prefill == decode else prefill)

    def _decider(self) -> Decider | None:
        if not self._decider_name:
            return None
        decider = self._find(self._decider_name)
        if not isinstance(decider, Decider):
            raise InputError(f"names the decider {self._decider_name!r}, which the file does not have")
        return decider
