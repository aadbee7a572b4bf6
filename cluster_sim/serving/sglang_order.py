"""SGLang's cache-aware orders of the waiting queue (python/sglang/srt/managers/schedule_policy.py)."""

from collections import deque
from typing import Final

from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_pool import RadixPool
from cluster_sim.serving.sequence import Sequence

CACHE_AWARE: Final = ("lpm", "dfs_weight")
MOST_SORTED: Final = 128
"""Longer queues are served first come, first served, because matching all of them would cost too much."""
IN_BATCH_TOKENS: Final = 32
"""A request that the tree holds less of, but an earlier waiting one this much, steps back for a round."""


def sort_by_cache(policy: str, waiting: deque[Sequence], pool: RadixPool) -> deque[Sequence]:
    """Return the queue in the order of ``lpm`` (longest matched prefix first) or ``dfs_weight``.

    With dfs_weight requests are visited along the tree, heavier subtrees (more waiting requests) first, so that those
    that share a prefix are neighbours.
    """
    if policy == "lpm" and len(waiting) > MOST_SORTED:
        return waiting
    matched: dict[int, int] = {}
    behind: dict[int, None] = {}
    throwaway = RadixCache(pool.page_size)
    for sequence in waiting:
        matched[sequence.request_id] = pool.match(sequence)
        if matched[sequence.request_id] > IN_BATCH_TOKENS:
            continue
        content = pool.share_of(sequence).content
        if throwaway.peek(content, sequence.known_tokens) >= IN_BATCH_TOKENS:
            behind[sequence.request_id] = None
        else:
            throwaway.insert(content, sequence.known_tokens)
    if policy == "lpm":
        return deque(sorted(waiting, key=lambda each: (each.request_id in behind, -matched[each.request_id])))
    by_node: dict[int, list[Sequence]] = {}
    for sequence in waiting:
        by_node.setdefault(pool.share_of(sequence).node, []).append(sequence)
    return deque(_depth_first(pool.tree, by_node))


def _depth_first(tree: RadixCache, by_node: dict[int, list[Sequence]]) -> list[Sequence]:
    weights: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for serial, sequences in by_node.items():
        node = serial
        while node:
            if node not in weights:
                weights[node] = 0
                children.setdefault(tree.parent_of(node), []).append(node)
            weights[node] += len(sequences)
            node = tree.parent_of(node)
    ordered: list[Sequence] = []
    stack = [(0, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            ordered += by_node.get(node, [])
            continue
        stack.append((node, True))
        stack += [(child, False) for child in sorted(children.get(node, []), key=lambda each: weights[each])]
    return ordered
