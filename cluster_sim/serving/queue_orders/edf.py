"""Earliest deadline first."""

from typing import Literal

from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.deadlines import DeadlineOptions, Deadlines
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder
from cluster_sim.serving.sequence import Sequence


class EdfOptions(DeadlineOptions):
    """The earliest deadline: the client's, or arrival + max(deadline_multiplier x prefill alone, min_deadline_s)."""

    policy: Literal["edf"] = "edf"


@QUEUE_ORDERS.register("edf", EdfOptions)
class EarliestDeadlineFirst(QueueOrder):
    """By absolute deadline."""

    def __init__(self, options: EdfOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._deadlines = Deadlines.of(options)

    def use_predictor(self, predictor: Predictor) -> None:
        """Estimate prefill times with ``predictor``."""
        self._deadlines.predictor = predictor

    def key(self, sequence: Sequence) -> float:
        """Return the deadline in ns."""
        return self._deadlines.deadline_ns(sequence.request)
