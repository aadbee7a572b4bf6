"""Shortest job first, by the prompt alone."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.sequence import Sequence


class SjfOptions(ConfigModel):
    """The shortest prompt."""

    policy: Literal["sjf"] = "sjf"


@QUEUE_ORDERS.register("sjf", SjfOptions)
class ShortestJobFirst(QueueOrder):
    """The shortest prompt first."""

    def key(self, sequence: Sequence) -> float:
        """Return the prompt's length."""
        return sequence.prompt_tokens
