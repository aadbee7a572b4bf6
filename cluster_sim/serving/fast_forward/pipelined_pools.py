"""Decode pools of a pipeline: one for each micro-batch that holds only decodes, while nothing changes them."""

from collections.abc import Iterable

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence


class PipelinedPools:
    """Running sequences by the batch that computes their last token; empty while they are not known to be uniform.

    Batches end one after the other in the last stage, so sequences whose last tokens come at one time are one batch.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._pools: list[DecodePool] = []

    def __bool__(self) -> bool:
        return bool(self._pools)

    def gather(self, running: Iterable[Sequence]) -> None:
        """Put every sequence into the pool of its last batch; leave none where one has no token left to compute."""
        assert not self._pools
        pools: dict[int, DecodePool] = {}
        for sequence in running:
            if sequence.generated >= sequence.output_tokens:
                return
            pool = pools.get(sequence.last_token_ns)
            if pool is None:
                pool = pools[sequence.last_token_ns] = DecodePool(self._block_size)
            pool.add(sequence)
        for pool in pools.values():
            pool.last_tokens.gather(pool.members.values())
        self._pools = list(pools.values())

    def in_turn(self) -> list[DecodePool]:
        """Return the pools in the order in which their batches end."""
        self._pools.sort(key=lambda pool: pool.last_tokens.time_ns)
        return self._pools.copy()

    def steps_to_finish(self) -> int:
        """Return the fewest batches that a pool still needs for some member's last token; 0 if all are formed."""
        return min((pool.steps_to_finish() for pool in self._pools if pool.members), default=0)

    def write_back(self) -> None:
        """Bring every sequence's own counters up to date; the pools stay as they are."""
        for pool in self._pools:
            pool.write_back()
            pool.last_tokens.write_back(pool.members.values())

    def dissolve(self) -> None:
        """Write every sequence's counters back and forget the pools."""
        for pool in self._pools:
            pool.dissolve()
        self._pools = []
