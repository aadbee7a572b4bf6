"""Decider that always splits.

Source: llm-d-inference-scheduler, ``pkg/plugins/profile/always_disagg_pd_decider.go``.
"""

from typing import Literal

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import ENDPOINT_DECIDERS, Decider, PartContext, PartOptions


class AlwaysOptions(PartOptions):
    """Every prompt is computed on a prefill instance."""

    type: Literal["always-disagg-pd-decider"] = "always-disagg-pd-decider"


@ENDPOINT_DECIDERS.register("always-disagg-pd-decider", AlwaysOptions)
class AlwaysDecider(Decider):
    """Always."""

    def __init__(self, options: AlwaysOptions, context: PartContext) -> None:
        super().__init__(context)

    def is_split(self, decision: Decision, decode: int) -> bool:
        return True
