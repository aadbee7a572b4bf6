"""Least remaining slack."""

from typing import Literal

from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.deadlines import DeadlineOptions, Deadlines
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, QueueOrder
from cluster_sim.serving.sequence import Sequence


class LrsOptions(DeadlineOptions):
    """The least (deadline - now - remaining prefill) / span, asked again at every step."""

    policy: Literal["lrs"] = "lrs"


@QUEUE_ORDERS.register("lrs", LrsOptions)
class LeastRemainingSlack(QueueOrder):
    """By the share of its time to the deadline that a sequence can still lose."""

    is_static = False

    def __init__(self, options: DeadlineOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self.deadlines = Deadlines.of(options)

    def use_predictor(self, predictor: Predictor) -> None:
        """Estimate prefill times with ``predictor``."""
        self.deadlines.predictor = predictor

    def key(self, sequence: Sequence) -> float:
        """Return the slack ratio; see ``Deadlines.slack_ratio``."""
        remaining = sequence.known_tokens - sequence.computed
        return self.deadlines.slack_ratio(sequence.request, remaining, self.now_ns)
