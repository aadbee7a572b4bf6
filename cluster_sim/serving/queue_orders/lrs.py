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

    def group(self, sequence: Sequence) -> object:
        """Return the span: sequences with the same one lose slack at the same rate."""
        return self.deadlines.span_ns(sequence.request)

    def place(self, sequence: Sequence) -> float:
        """Return when the prefill must begin in ns."""
        remaining = sequence.known_tokens - sequence.computed
        return self.deadlines.deadline_ns(sequence.request) - self.deadlines.prefill_ns(remaining)

    def key(self, sequence: Sequence) -> float:
        """Return the slack ratio; see ``Deadlines.slack_ratio``."""
        remaining = sequence.known_tokens - sequence.computed
        return self.deadlines.slack_ratio(sequence.request, remaining, self.now_ns)
