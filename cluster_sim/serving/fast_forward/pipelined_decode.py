"""Pipelined decode: decode-only micro-batches that follow each other through the stages, unchanged.

With several stages each running sequence is in at most one unfinished batch.  While nothing arrives, ends or runs short
of memory, the members of a batch are scheduled again, together, when it ends, so the batches in flight take turns.
Batch i has the members of batch i - n, n being the number of pools, and is scheduled at its end; the stages are the
same ordered servers as for single batches (``Pipeline.run``), so a round costs a few additions instead of n walks of
the scheduler.  Their times are computed as far as somebody asks (``StageTimes``).
"""

from bisect import bisect_right
from collections.abc import Sequence as Row

import numpy as np

from cluster_sim.engine.instant import NEVER
from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.fast_forward.stage_times import StageTimes
from cluster_sim.serving.latest_batches import LATEST_BATCHES
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class PipelinedDecode(PlannedDecode):
    """Batches i = 0 .. steps - 1 of ``pools`` in turn, the first of each scheduled at ``heads_ns``.

    ``costs_ns`` has a row per batch: the step of each stage and the way to the next, alternating, the last way 0.
    ``free_ns``: when each stage has finished what it has.
    """

    __slots__ = ("_heads_tokens_ns", "_scheduler", "_times", "pools")

    def __init__(
        self,
        pools: list[DecodePool],
        heads_ns: Row[int],
        costs_ns: Int64Array,
        free_ns: Row[int],
        scheduler: FastForwardScheduler,
        *,
        is_finishing: bool,
    ) -> None:
        self.pools = pools
        self.steps = len(costs_ns)
        self.is_finishing = is_finishing
        self.offset = 0
        self._scheduler = scheduler
        self._times = StageTimes(heads_ns, costs_ns, free_ns)
        self._heads_tokens_ns = [pool.last_tokens.time_ns for pool in pools]
        """When the previous tokens of the heads' members came; those of later batches came when they are scheduled."""

    @property
    def last_end_ns(self) -> int:
        """When the last batch ends."""
        self._times.plan(NEVER)
        return self._times.scheduled_ns.item(-1)

    def scheduled_ns(self, step: int) -> int:
        """Return when batch ``step`` is scheduled; ``steps`` for the first one beyond the plan."""
        times = self._times
        if step >= times.planned + len(self.pools):
            times.plan(NEVER)
        return times.scheduled_ns.item(step)

    def steps_scheduled_by(self, time_ns: int) -> int:
        """Return how many batches are scheduled at or before ``time_ns``."""
        times = self._times
        times.plan(time_ns)
        return int(
            times.scheduled_ns[: min(self.steps, times.planned + len(self.pools))].searchsorted(time_ns, "right")
        )

    def turns(self, upto: int) -> list[int]:
        """Return how many batches from ``offset`` up to ``upto`` each pool makes."""
        pools, offset = len(self.pools), self.offset
        return [(upto - index - 1) // pools - (offset - index - 1) // pools for index in range(pools)]

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks those batches take that are not committed yet and scheduled before ``time_ns``."""
        turns = self.turns(self.steps_scheduled_by(time_ns - 1))
        return sum(pool.blocks_for(steps) for pool, steps in zip(self.pools, turns, strict=True))

    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` batches are scheduled, one of them at least."""
        ends_ns: list[int] = self._times.scheduled_ns[upto : upto + len(self.pools)].tolist()
        return ends_ns

    def commit(self, upto: int, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the batches from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
        ends_ns, gaps_ns = self.recorded_steps(upto)
        if len(self.pools) == 1:
            log.decode_run(ends_ns, gaps_ns, len(self.pools[0]))
        else:
            log.steps(ends_ns, gaps_ns, self.recorded_decodes(upto))
        pipeline.occupy_all(*self.stage_times(upto), upto - self.offset, self.latest(upto))
        turns = self.turns(upto)
        for pool, steps in zip(self.pools, turns, strict=True):
            pipeline.cover(len(pool), pool.kv_tokens, steps)
        last_ends_ns = self.in_flight_after(upto)
        # Batch upto - 1 is the last in flight; the pool whose turn is next has waited longest.
        following = upto % len(self.pools)
        self.offset = upto
        if following:
            last_ends_ns = last_ends_ns[-following:] + last_ends_ns[:-following]
        return self._scheduler.commit_pipelined(self.pools, turns, last_ends_ns)

    def recorded_steps(self, upto: int) -> tuple[Int64Array, Int64Array]:
        """Return ends and token gaps in ns of the batches from ``offset`` up to ``upto``, int64 each."""
        pools, first, scheduled_ns = len(self.pools), self.offset, self._times.scheduled_ns
        ends_ns = scheduled_ns[first + pools : upto + pools]
        gaps_ns = ends_ns - scheduled_ns[first:upto]
        for head in range(first, min(upto, pools)):
            gaps_ns[head - first] = scheduled_ns[head + pools] - self._heads_tokens_ns[head]
        return ends_ns, gaps_ns

    def recorded_decodes(self, upto: int) -> Int64Array:
        """Return the decodes of the batches from ``offset`` up to ``upto``, int64 each."""
        sizes = np.array([len(pool) for pool in self.pools], np.int64)
        return sizes[np.arange(self.offset, upto) % len(self.pools)]

    def stage_times(self, upto: int) -> tuple[list[int], list[int]]:
        """Return per stage when it is free after ``upto`` batches and its work in those since ``offset``, ns."""
        free_ns: list[int] = self._times.ends_ns[upto - 1].tolist()
        busy_ns: list[int] = np.add.reduce(self._times.costs_ns[self.offset : upto])[::2].tolist()
        return free_ns, busy_ns

    def latest(self, upto: int) -> tuple[Int64Array, Int64Array]:
        """Return ends and work by stage of those batches from ``offset`` up to ``upto`` that may outlast the run."""
        first = max(self.offset, upto - len(self.pools) - LATEST_BATCHES)
        return self._times.ends_ns[first:upto].copy(), self._times.costs_ns[first:upto, ::2].copy()


def pipelined_steps(pools: list[DecodePool], free_blocks: int, most: int) -> tuple[int, bool]:
    """Return how many batches of ``pools`` in turn keep their members, and whether the last one finishes a member.

    At most ``most``, and no more than fit in ``free_blocks``.
    """
    turns = len(pools)
    finish = min((pool.steps_to_finish() - 1) * turns + index for index, pool in enumerate(pools)) + 1
    steps = min(finish, most)

    def blocks(steps: int) -> int:
        return sum(pool.blocks_for((steps - index - 1) // turns + 1) for index, pool in enumerate(pools))

    if blocks(steps) > free_blocks:
        steps = bisect_right(range(1, steps), free_blocks, key=blocks)
    return steps, steps == finish
