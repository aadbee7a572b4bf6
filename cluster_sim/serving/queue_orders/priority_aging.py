"""Priority that rises with the time waited."""

from typing import Literal

from pydantic import Field

from cluster_sim.options import GREATEST_WEIGHT, LONGEST_RUN_S
from cluster_sim.serving.estimated_service import ServiceTime, ServiceTimeOptions
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_S


class PriorityAgingOptions(ServiceTimeOptions):
    """The lowest of priority - aging_per_s x wait - urgency_s / estimated service."""

    policy: Literal["priority_aging"] = "priority_aging"
    aging_per_s: float = Field(
        1.0, ge=0, le=GREATEST_WEIGHT, description="Priority levels that a second of waiting is worth."
    )
    urgency_s: float = Field(
        0.0, ge=0, le=LONGEST_RUN_S, description="A job of t seconds gains urgency_s / t priority levels."
    )


@QUEUE_ORDERS.register("priority_aging", PriorityAgingOptions)
class PriorityWithAging(QueueOrder):
    """priority - aging * waiting time - urgency / service time: a lower value is more urgent, so waiting raises it.

    llm-infer's guide writes base - aging * wait + urgency / time and sorts descending, under which old requests would
    sink; here every term acts as its name says.  All that wait rise at the same rate, so their order never changes.
    """

    def __init__(self, options: PriorityAgingOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._aging_per_s = options.aging_per_s
        self._urgency_s = options.urgency_s
        self._service = ServiceTime(options)

    def key(self, sequence: Sequence) -> float:
        """Return the effective priority at time 0, which orders sequences as that at any other time; lower is more
        urgent.
        """
        level = sequence.request.attributes.priority + self._aging_per_s * sequence.request.arrival_ns / NS_PER_S
        if self._urgency_s:
            level -= self._urgency_s / max(self._service.of(sequence), 1e-9)
        return level
