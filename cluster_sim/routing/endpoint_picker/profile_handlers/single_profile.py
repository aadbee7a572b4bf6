"""Handler of one profile.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/profile/single_profile_handler.go``.
"""

from collections.abc import Sequence
from typing import Literal

from cluster_sim.errors import InputError
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.parts import (
    PROFILE_HANDLERS,
    PartContext,
    PartOptions,
    ProfileHandler,
    RunProfile,
)


class SingleProfileOptions(PartOptions):
    """Runs the only profile; what it chooses serves the whole request."""

    type: Literal["single-profile-handler"] = "single-profile-handler"


@PROFILE_HANDLERS.register("single-profile-handler", SingleProfileOptions)
class SingleProfileHandler(ProfileHandler):
    """One profile, one endpoint."""

    def __init__(self, options: SingleProfileOptions, context: PartContext) -> None:
        super().__init__(context)
        self._profile = ""

    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        if len(known) != 1:
            raise InputError(f"has {len(known)} profiles ({', '.join(known)}), and single-profile-handler takes one")
        self._profile = known[0]
        return known

    def select(
        self, decision: Decision, run: RunProfile, decoding: Positions | None, prefilling: Positions | None
    ) -> Selection | None:
        chosen = run(self._profile, decision, decoding)
        return None if chosen < 0 else Selection(chosen)
