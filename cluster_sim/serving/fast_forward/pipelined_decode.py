"""Pipelined decode: decode-only micro-batches that follow each other through the stages, unchanged.

With several stages each running sequence is in at most one unfinished batch.  While nothing arrives, ends or runs short
of memory, the members of a batch are formed again, together, when it ends, so the batches in flight take turns.
Formation i takes up the batch that formation i - n made, n being their number, at its end; the stages are the same
ordered servers as for single batches (``Pipeline.run``), so a round costs a few additions instead of n walks of the
scheduler.
"""

from bisect import bisect_right
from collections.abc import Sequence as Row

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class PipelinedDecode(PlannedDecode):
    """Formations i = 0 .. steps - 1 of ``pools`` in turn, the first of each at ``heads_ns``.

    ``costs_ns`` has a row per formation: the step of each stage and the way to the next, alternating, the last way 0.
    ``free_ns``: when each stage has finished what it has.
    """

    __slots__ = ("_costs_ns", "_formed_ns", "_stage_ends_ns", "_tokens_ns", "pools")

    def __init__(
        self,
        pools: list[DecodePool],
        heads_ns: Row[int],
        costs_ns: Int64Array,
        free_ns: Row[int],
        *,
        is_finishing: bool,
    ) -> None:
        self.pools = pools
        self.steps = len(costs_ns)
        self.is_finishing = is_finishing
        self.offset = 0
        self._costs_ns = costs_ns
        formed_ns = list(heads_ns)
        free = list(free_ns)
        stages = range(len(free))
        ends_ns: list[list[int]] = []
        for at, costs in zip(formed_ns, costs_ns.tolist(), strict=False):  # The list grows as the loop goes on.
            now = at
            for stage in stages:
                now = max(now, free[stage])
                now += costs[2 * stage]
                free[stage] = now
                now += costs[2 * stage + 1]
            ends_ns.append(free.copy())
            formed_ns.append(now)
        self.last_end_ns = formed_ns[-1]
        self._formed_ns = formed_ns
        """When each batch is formed: the heads, then the ends of the batches n before."""
        self._stage_ends_ns = ends_ns
        self._tokens_ns = [pool.last_tokens.time_ns for pool in pools] + formed_ns[len(pools) :]
        """When the previous token of each formation's members came."""

    def formed_ns(self, step: int) -> int:
        """Return when formation ``step`` is made; ``steps`` for the first one beyond the run."""
        return self._formed_ns[step]

    def steps_formed_by(self, time_ns: int) -> int:
        """Return how many formations are made at or before ``time_ns``."""
        return bisect_right(self._formed_ns, time_ns, 0, self.steps)

    def turns(self, upto: int) -> list[int]:
        """Return how many formations from ``offset`` up to ``upto`` fall on each pool."""
        many, offset = len(self.pools), self.offset
        return [(upto - at - 1) // many - (offset - at - 1) // many for at in range(many)]

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks the formations take that are not committed yet and made before ``time_ns``."""
        turns = self.turns(self.steps_formed_by(time_ns - 1))
        return sum(pool.blocks_for(steps) for pool, steps in zip(self.pools, turns, strict=True))

    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` formations are made, one of them at least."""
        return self._formed_ns[upto : upto + len(self.pools)]

    def commit(self, upto: int, scheduler: FastForwardScheduler, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the formations from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
        log.steps(*self.iterations(upto))
        pipeline.occupy_all(*self.stage_times(upto), upto - self.offset)
        turns = self.turns(upto)
        for pool, count in zip(self.pools, turns, strict=True):
            pipeline.cover(len(pool), pool.kv_tokens, count)
        ends_ns = self.in_flight_after(upto)
        # Batch upto - 1 is the last in flight; the pool that is formed next has waited longest.
        following = upto % len(self.pools)
        self.offset = upto
        if following:
            ends_ns = ends_ns[-following:] + ends_ns[:-following]
        return scheduler.commit_pipelined(self.pools, turns, ends_ns)

    def iterations(self, upto: int) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Return ends, token gaps in ns and decodes of the formations from ``offset`` up to ``upto``, int64 each."""
        many, first = len(self.pools), self.offset
        ends = np.array(self._formed_ns[first + many : upto + many], np.int64)
        gaps = ends - np.array(self._tokens_ns[first:upto], np.int64)
        sizes = np.array([len(pool) for pool in self.pools], np.int64)
        return ends, gaps, sizes[np.arange(first, upto) % many]

    def stage_times(self, upto: int) -> tuple[list[int], list[int]]:
        """Return per stage when it is free after ``upto`` formations and its work in those since ``offset``, ns."""
        busy_ns: list[int] = self._costs_ns[self.offset : upto, ::2].sum(axis=0).tolist()
        return self._stage_ends_ns[upto - 1], busy_ns


def pipelined_steps(pools: list[DecodePool], free_blocks: int, most: int) -> tuple[int, bool]:
    """Return how many formations of ``pools`` in turn are uniform, and whether the last one finishes a member.

    At most ``most``, and no more than fit in ``free_blocks``.
    """
    many = len(pools)
    finish = min((pool.steps_to_finish() - 1) * many + at for at, pool in enumerate(pools)) + 1
    steps = min(finish, most)

    def blocks(steps: int) -> int:
        return sum(pool.blocks_for((steps - at - 1) // many + 1) for at, pool in enumerate(pools))

    if blocks(steps) > free_blocks:
        steps = bisect_right(range(1, steps), free_blocks, key=blocks)
    return steps, steps == finish
