"""Shortest job first, by the estimated service time."""

from typing import Literal

from cluster_sim.serving.estimated_service import ServiceTime, ServiceTimeOptions
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder
from cluster_sim.serving.sequence import Sequence


class PredictedSjfOptions(ServiceTimeOptions):
    """The shortest estimated service; output lengths as length_knowledge has them."""

    policy: Literal["predicted_sjf"] = "predicted_sjf"


@QUEUE_ORDERS.register("predicted_sjf", PredictedSjfOptions)
class PredictedShortestJobFirst(QueueOrder):
    """The shortest estimated service time first, prompt and predicted output together."""

    def __init__(self, options: PredictedSjfOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._service = ServiceTime(options)

    def key(self, sequence: Sequence) -> float:
        """Return the estimated service time in seconds."""
        return self._service.of(sequence)
