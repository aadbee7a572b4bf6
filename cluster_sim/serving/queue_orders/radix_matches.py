"""Matches of a waiting queue with SGLang's radix tree (python/sglang/srt/managers/schedule_policy.py)."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.sequence import Sequence

IN_BATCH_TOKENS: Final = 32
"""A request that the tree holds less of, but an earlier waiting one this much, steps back for a round."""


class QueueMatches(NamedTuple):
    """What the tree holds of waiting requests."""

    tokens: dict[int, int]
    """Matched tokens by the sequence's key."""
    behind: dict[int, None]
    """Requests that step back for a round, because an earlier one computes what they share."""


def match_queue(waiting: Iterable[Sequence], cache: RadixCache) -> QueueMatches:
    """Match every waiting request in queue order."""
    matches = QueueMatches({}, {})
    throwaway = RadixTree(cache.block_size)
    for sequence in waiting:
        tokens = matches.tokens[sequence.key] = cache.match_prefix(sequence).tokens
        if tokens > IN_BATCH_TOKENS:
            continue
        content = cache.holding_of(sequence).content
        if throwaway.peek(content, sequence.known_tokens) >= IN_BATCH_TOKENS:
            matches.behind[sequence.key] = None
        else:
            throwaway.insert(content, sequence.known_tokens)
    return matches
