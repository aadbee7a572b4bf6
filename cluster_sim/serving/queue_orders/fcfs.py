"""First come, first served."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.sequence import Sequence


class FcfsOptions(ConfigModel):
    """Who came first; preempted requests stand in front."""

    policy: Literal["fcfs"] = "fcfs"


@QUEUE_ORDERS.register("fcfs", FcfsOptions)
class FirstComeFirstServed(QueueOrder):
    """By arrival."""

    is_by_arrival = True

    def key(self, sequence: Sequence) -> float:
        """Return the arrival time."""
        return sequence.request.arrival_ns
