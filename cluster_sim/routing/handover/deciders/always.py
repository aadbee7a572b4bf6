"""Every request is handed over."""

from cluster_sim.routing.handover.decider_interface import DECIDERS, AlwaysOptions, Decider, Situation


@DECIDERS.register("always", AlwaysOptions)
class Always(Decider):
    """llm-d's ``always-disagg-pd-decider``."""

    def hands_over(self, situation: Situation) -> bool:
        """Return True."""
        return True
