"""Longest prefix match: the sequence with the most cached tokens first."""

from typing import Final, Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, TreeOrder
from cluster_sim.serving.queue_orders.radix_matches import match_queue
from cluster_sim.serving.sequence import Sequence

MOST_SORTED: Final = 128
"""SGLang serves longer queues first come, first served, because matching all of them would cost too much."""


class LpmOptions(ConfigModel):
    """The longest cached prefix."""

    policy: Literal["lpm"] = "lpm"


@QUEUE_ORDERS.register("lpm", LpmOptions)
class LongestPrefixMatch(TreeOrder):
    """The sequence with the most cached tokens first; with a radix tree as SGLang has it (schedule_policy.py)."""

    def __init__(self, options: LpmOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._prefix_tokens = prefix_tokens

    def key(self, sequence: Sequence) -> float:
        """Return minus the cached tokens."""
        return -self._prefix_tokens(sequence)

    def sort_by_tree(self, waiting: list[Sequence], cache: RadixCache) -> list[Sequence]:
        """Return the queue by matched tokens, those that step back for a round last."""
        if len(waiting) > MOST_SORTED:
            return waiting
        matches = match_queue(waiting, cache)
        return sorted(waiting, key=lambda item: (item.key in matches.behind, -matches.tokens[item.key]))
