"""Earliest deadline first."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.ordering_interface import ORDERINGS, FlowOrdering
from cluster_sim.workload.request import Request


class EdfOptions(ConfigModel):
    """The earliest deadline: the client's, or the end of its time to live in the queue; without either last."""

    kind: Literal["edf"] = "edf"


@ORDERINGS.register("edf", EdfOptions)
class EarliestDeadlineFirst(FlowOrdering):
    """By absolute deadline.

    Source: llm-d-inference-scheduler 520af478, flow control's edf-ordering-policy, whose deadline is the time of
    queueing plus the time to live.  A deadline that the workload gives (``deadline_ns``) comes before it.
    """

    def key(self, request: Request, queued_ns: int, expires_ns: int) -> int:
        deadline_ns = request.attributes.deadline_ns
        return deadline_ns if deadline_ns >= 0 else expires_ns
