"""No request is handed over."""

from typing import Literal

from pydantic import Field

from cluster_sim.routing.handover.decider_interface import DECIDERS, Decider, DeciderOptions, Situation


class NeverOptions(DeciderOptions):
    """No request is handed over: decode replicas compute the prompts too, and prefill pools stay idle."""

    kind: Literal["never"] = Field("never", description="No request.")


@DECIDERS.register("never", NeverOptions)
class Never(Decider):
    """What a comparison wants."""

    def hands_over(self, situation: Situation) -> bool:
        """Return False."""
        return False
