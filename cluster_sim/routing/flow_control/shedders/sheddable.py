"""Requests of low priority are shed while the replicas are saturated."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.recording.reasons import SHED_SATURATION
from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS, Load, Shedder, is_sheddable
from cluster_sim.workload.request import Request


class SheddableOptions(ConfigModel):
    """Requests with a priority above 0 (llm-d: below 0) are shed while the replicas are saturated."""

    kind: Literal["sheddable"] = "sheddable"


@SHEDDERS.register("sheddable", SheddableOptions)
class Sheddable(Shedder):
    """Sheds sheddable requests at a saturation of 1.

    Source: llm-d-inference-scheduler 520af478, admission control without flow control: requests of a priority below 0
    are rejected when the pool is saturated.
    """

    def reason(self, request: Request, load: Load, now_ns: int) -> str | None:
        return SHED_SATURATION if is_sheddable(request) and load.saturation >= 1 else None
