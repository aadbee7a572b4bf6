"""Host memory whose blocks stay pinned until the request that stored them ends, and the CPU time of refused stores.

vLLM's offloading connector before 0.21 (``OffloadingConnectorScheduler._get_reqs_to_store``,
``LRUOffloadingManager.prepare_store``): in every step each scheduled request offers the blocks that have become full.
A stored block can be evicted only once its request has ended.  If those that must go are not to be found, the store is
refused, after a walk over the whole cache and with a line in the log, and *tried again in the next step*.  So once
running requests have pinned the cache, each of them costs the engine's core

    REFUSAL_US + ENTRY_NS x blocks in the cache

in every step, all of it before the next batch is sent off.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from cluster_sim.units import NS_PER_US

REFUSAL_US: Final = 30.0
"""A refused store beside the walk: hashes gathered and looked up, and a line logged."""
ENTRY_NS: Final = 74.0
"""One block passed on the walk.

Both are known by their sum with 4,096 blocks alone, from one overloaded server (Mixtral-8x7B, vLLM 0.15.1), where the
walk becomes a quarter slower within some minutes.  The loop by itself takes 41 ns a block on a development machine,
and 51 once its dictionary has been churned.
"""


class Holder(NamedTuple):
    """What a request has in host memory."""

    stored: int
    """Leading blocks that are there; the next to offer."""
    pinned: int
    """Those of them that it stored itself."""


class PinnedStores:
    """The books over host memory of one scheduler."""

    def __init__(self, host_blocks: int, block_size: int) -> None:
        self._host_blocks = host_blocks
        self._block_size = block_size
        self._holders: dict[int, Holder] = {}
        self._pinned = 0
        self._entries = 0
        """Blocks in the cache, which are all of them once as many have been stored."""
        self._busy_until_ns = 0
        """When the engine's core, which plans one batch after the other, is done with the latest."""

    @property
    def refusal_ns(self) -> float:
        """CPU time of one refused store at most."""
        return REFUSAL_US * NS_PER_US + ENTRY_NS * self._host_blocks

    def enter(self, key: int, host_blocks: int) -> None:
        """Begin a request of whose prompt the cache has the first ``host_blocks`` blocks."""
        self._holders[key] = Holder(host_blocks, 0)

    def leave(self, key: int) -> int:
        """Unpin what a request stored; return how many leading blocks of it are in the cache."""
        holder = self._holders.pop(key, None)
        if holder is None:
            return 0
        self._pinned -= holder.pinned
        return holder.stored

    def delay_ns(self, now_ns: int, computed: Iterable[tuple[int, int]]) -> int:
        """Offer the blocks of a batch that is planned at ``now_ns``; return how much later it is sent off.

        The core is one thread: it begins with this batch once it is done with the one before.
        """
        cost_ns = self.offer(computed)
        if not cost_ns:
            return 0
        self._busy_until_ns = max(now_ns, self._busy_until_ns) + cost_ns
        return self._busy_until_ns - now_ns

    def offer(self, computed: Iterable[tuple[int, int]]) -> int:
        """Store what has become full of requests, given as (key, tokens computed) in the order of the batch; return
        the CPU time of the refused ones, ns.
        """
        holders, size, refused = self._holders, self._block_size, 0
        for key, tokens in computed:
            holder = holders.get(key)
            if holder is None:
                continue
            new = tokens // size - holder.stored
            if new <= 0:
                continue
            if new > self._host_blocks - self._pinned:
                refused += 1
                continue
            self._pinned += new
            self._entries = min(self._entries + new, self._host_blocks)
            holders[key] = Holder(holder.stored + new, holder.pinned + new)
        return round(refused * (REFUSAL_US * NS_PER_US + ENTRY_NS * self._entries))
