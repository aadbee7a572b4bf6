"""Depth-first walk of the radix tree, heavier subtrees first, as SGLang's policy of that name has it."""

from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, TreeOrder
from cluster_sim.serving.queue_orders.depth_first_queue import DepthFirstQueue
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

    def new_queue(self, cache: RadixCache) -> DepthFirstQueue:
        """Return an empty queue in the order of the walk."""
        return DepthFirstQueue(cache)
