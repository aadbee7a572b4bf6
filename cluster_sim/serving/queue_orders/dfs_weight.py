"""Depth-first walk of the radix tree, heavier subtrees first, as SGLang's policy of that name has it."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, TreeOrder
from cluster_sim.serving.sequence import Sequence


class DfsWeightOptions(ConfigModel):
    """The heavier subtree of the radix tree (engines that have one: sglang)."""

    policy: Literal["dfs_weight"] = "dfs_weight"


@QUEUE_ORDERS.register("dfs_weight", DfsWeightOptions)
class DepthFirstWeight(TreeOrder):
    """Requests are visited along the tree, heavier subtrees (more waiting requests) first, so that those that share a
    prefix are neighbours.
    """

    needs_radix_tree = True

    def key(self, sequence: Sequence) -> float:
        """Fail: the place of a sequence depends on the whole queue."""
        raise AssertionError("dfs_weight orders a queue by the radix tree")

    def sort_by_tree(self, waiting: list[Sequence], cache: RadixCache) -> list[Sequence]:
        """Return the queue in the order of the walk."""
        by_node: dict[int, list[Sequence]] = {}
        for sequence in waiting:
            cache.match_prefix(sequence)
            by_node.setdefault(cache.holding_of(sequence).node, []).append(sequence)
        return _depth_first(cache.tree, by_node)


def _depth_first(tree: RadixTree, by_node: dict[int, list[Sequence]]) -> list[Sequence]:
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
        stack += [(child, False) for child in sorted(children.get(node, []), key=lambda serial: weights[serial])]
    return ordered
