"""The request whose first token is due first."""

from typing import Literal

from pydantic import Field

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.ordering_interface import LAST, ORDERINGS, FlowOrdering
from cluster_sim.routing.flow_control.slo_targets import SloTargets
from cluster_sim.workload.request import Request


class SloDeadlineOptions(ConfigModel):
    """The earliest arrival + target of time to first token; requests without a target last."""

    kind: Literal["slo_deadline"] = "slo_deadline"
    targets: SloTargets = Field(SloTargets(), description="Times to first token that requests should keep.")


@ORDERINGS.register("slo_deadline", SloDeadlineOptions)
class SloDeadline(FlowOrdering):
    """By the time at which the first token is due.

    Source: llm-d-inference-scheduler 520af478, flow control's slo-deadline-ordering-policy, where a header names the
    target.
    """

    def __init__(self, options: SloDeadlineOptions) -> None:
        self._targets = options.targets

    def key(self, request: Request, queued_ns: int, expires_ns: int) -> int:
        deadline_ns = self._targets.deadline_ns(request)
        return LAST if deadline_ns is None else deadline_ns
