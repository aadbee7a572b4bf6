"""Handlers that run the profile for decoding first, and the one for prompts where the request is to be split."""

from abc import abstractmethod

from cluster_sim.errors import InputError
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.parts import Decider, PartContext, ProfileHandler, RunProfile


class DecodeFirstHandler(ProfileHandler):
    """Runs two profiles by their names."""

    def __init__(self, context: PartContext, decode_profile: str, prefill_profile: str, decider: str) -> None:
        """``decider`` names the part that decides, or nothing."""
        super().__init__(context)
        self._decode_profile = decode_profile
        self._prefill_profile = prefill_profile
        self._decider_name = decider
        self._find = context.find

    @abstractmethod
    def is_split(self, decision: Decision, decode: int) -> bool:
        """Return whether another endpoint than ``decode`` computes the prompt."""

    def select(
        self, decision: Decision, run: RunProfile, decoding: Positions | None, prefilling: Positions | None
    ) -> Selection | None:
        decode = run(self._decode_profile, decision, decoding)
        if decode < 0:
            return None
        if not self.is_split(decision, decode):
            return Selection(decode)
        prefill = run(self._prefill_profile, decision, prefilling)
        return Selection(decode, -1 if prefill == decode else prefill)

    def decider(self) -> Decider | None:
        """Return the part that decides, None if none is named; raise InputError if the file has no such decider."""
        if not self._decider_name:
            return None
        decider = self._find(self._decider_name)
        if not isinstance(decider, Decider):
            raise InputError(f"names the decider {self._decider_name!r}, which the file does not have")
        return decider
