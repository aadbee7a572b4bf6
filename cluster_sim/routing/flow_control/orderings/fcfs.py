"""First come, first served."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.ordering_interface import ORDERINGS, FlowOrdering
from cluster_sim.workload.request import Request


class FcfsOptions(ConfigModel):
    """The request that was queued first."""

    kind: Literal["fcfs"] = "fcfs"


@ORDERINGS.register("fcfs", FcfsOptions)
class FirstComeFirstServed(FlowOrdering):
    """By the time of queueing.

    Source: llm-d-inference-scheduler 520af478, flow control's fcfs-ordering-policy.
    """

    def key(self, request: Request, queued_ns: int, expires_ns: int) -> int:
        return queued_ns
