"""Every request is handed over."""

from typing import Literal

from pydantic import Field

from cluster_sim.routing.handover.decider_interface import DECIDERS, Decider, DeciderOptions, Situation


class AlwaysOptions(DeciderOptions):
    """Every request is handed over (llm-d's ``always-disagg-pd-decider``)."""

    kind: Literal["always"] = Field("always", description="Every request.")


@DECIDERS.register("always", AlwaysOptions)
class Always(Decider):
    """llm-d's ``always-disagg-pd-decider``."""

    def hands_over(self, situation: Situation) -> bool:
        """Return True."""
        return True
