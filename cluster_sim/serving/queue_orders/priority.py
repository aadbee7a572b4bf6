"""The client's priority, as vLLM's scheduling policy of that name has it."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.sequence import Sequence


class PriorityOptions(ConfigModel):
    """The lowest priority value (vLLM's convention; in vllm_v1 it also chooses whom to preempt)."""

    policy: Literal["priority"] = "priority"


def urgency(sequence: Sequence) -> tuple[int, int, int]:
    """Return a sequence's place under this policy, the most urgent first."""
    request = sequence.request
    return request.attributes.priority, request.arrival_ns, sequence.request_id


@QUEUE_ORDERS.register("priority", PriorityOptions)
class Priority(QueueOrder):
    """The most urgent first; a lower value is more urgent."""

    chooses_victims = True

    def key(self, sequence: Sequence) -> float:
        """Return the client's priority."""
        return sequence.request.attributes.priority
