"""Longest prefix match: the sequence with the most cached tokens first."""

from collections.abc import Iterable
from typing import Final, Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens, TreeOrder
from cluster_sim.serving.queue_orders.radix_matches import match_queue
from cluster_sim.serving.queue_orders.waiting_queue import ArrivalQueue
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

    def group(self, sequence: Sequence) -> object:
        """Return what a prompt shares with others, all that can be found of one that has never run: those that share
        the same are found equally long, always.
        """
        if sequence.attempt or sequence.resumed_tokens or sequence.scheduled_ns >= 0:
            return sequence.key
        attributes = sequence.request.attributes
        shared = sum(tokens for _, tokens in attributes.segments)
        # One token is left to compute, which matters where nothing follows the shared ones.
        known = min(sequence.prompt_tokens, shared + 1)
        return attributes.lora, attributes.segments, known, sequence.stored_tokens

    def new_queue(self, cache: RadixCache) -> "MatchedQueue":
        """Return an empty queue by matched tokens."""
        return MatchedQueue(cache)


class MatchedQueue(ArrivalQueue):
    """By matched tokens, those that step back for a round last."""

    def __init__(self, cache: RadixCache) -> None:
        super().__init__()
        self._cache = cache

    def sort(self, running: Iterable[Sequence], now_ns: int) -> None:
        if len(self.present) <= MOST_SORTED:
            waiting = [*self]
            matches = match_queue(waiting, self._cache)
            self.arrange(sorted(waiting, key=lambda item: (item.key in matches.behind, -matches.tokens[item.key])))
        self.is_sorted = True
