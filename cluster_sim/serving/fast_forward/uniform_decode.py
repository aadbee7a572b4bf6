"""Uniform decode: the decode-only steps of one unchanged batch on a single stage, as one vector."""

from collections.abc import Sequence as Row

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class StagePlan(PlannedDecode):
    """Iterations i = 0 .. k-1 of the only stage, laid out after the batches in flight.

    Iteration i takes ``steps_ns[i]`` and ends ``ends_ns[i]`` after ``start_ns``.  With d batches in flight, 1 or 2, it
    is formed at the end of the d-th batch before it: the first d at ``head_ns`` (the next formation's time, then the
    ends of the batches in flight), iteration i at the end of i - d.
    """

    __slots__ = ("_head_ns", "_pools", "ends_ns", "start_ns", "steps_ns")

    def __init__(
        self, head_ns: tuple[int, ...], steps_ns: Int64Array, pools: Row[DecodePool], *, is_finishing: bool
    ) -> None:
        self._head_ns = head_ns
        self._pools = pools
        """What makes a step in every iteration."""
        self.steps_ns = steps_ns
        self.steps = len(steps_ns)
        first, last = head_ns[0], head_ns[-1]
        self.start_ns = first if first > last else last  # noqa: FURB136 - a call costs five times as much
        # Relative ends save a pass over the vector, and the ufunc itself half of what the method ``cumsum`` costs.
        self.ends_ns: Int64Array = np.add.accumulate(steps_ns)
        self.last_end_ns = self.start_ns + self.ends_ns.item(-1)
        self.is_finishing = is_finishing
        self.offset = 0

    def end_ns(self, step: int) -> int:
        """Return when iteration ``step`` ends, for -1 when the first one starts."""
        if step < 0:
            return self.start_ns
        end: int = self.start_ns + self.ends_ns.item(step)
        return end

    def steps_formed_by(self, time_ns: int) -> int:
        """Return how many iterations are formed at or before ``time_ns``."""
        if time_ns >= self.last_end_ns:
            return self.steps
        count = 0
        for formed_ns in self._head_ns:
            if formed_ns > time_ns:
                break
            count += 1
        else:
            count += int(self.ends_ns.searchsorted(time_ns - self.start_ns, "right"))
        return count if count < self.steps else self.steps  # noqa: FURB136 - a call costs five times as much

    def formed_ns(self, step: int) -> int:
        """Return when iteration ``step`` is formed."""
        head = self._head_ns
        return head[step] if step < len(head) else self.end_ns(step - len(head))

    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` iterations are formed."""
        head, ends_ns = self._head_ns, self.ends_ns
        last_ns = self.last_end_ns if upto == self.steps else self.start_ns + ends_ns.item(upto - 1)
        if len(head) == 1:
            return [last_ns]
        return [self.start_ns + ends_ns.item(upto - 2) if upto > 1 else head[1], last_ns]


class UniformDecode(StagePlan):
    """Iterations of one pool."""

    __slots__ = ()

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks the iterations take that are not committed yet and formed before ``time_ns``."""
        return self._pools[0].blocks_for(self.steps_formed_by(time_ns - 1) - self.offset)

    def commit(self, upto: int, scheduler: FastForwardScheduler, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Form the iterations from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
        pool, offset, ends_ns, steps_ns = self._pools[0], self.offset, self.ends_ns, self.steps_ns
        since_ns = self.start_ns
        start_ns = since_ns + ends_ns.item(offset - 1) if offset else since_ns
        decodes = len(pool.members)
        noted = offset
        if not pool.last_tokens.are_all_at(start_ns):
            pool.last_tokens.gaps(decodes).record(log, self.end_ns(offset), 0, decodes)
            noted += 1
        if upto == self.steps:
            end_ns = self.last_end_ns
            if noted:
                ends_ns, steps_ns = ends_ns[noted:], steps_ns[noted:]
        else:
            end_ns = since_ns + ends_ns.item(upto - 1)
            ends_ns, steps_ns = ends_ns[noted:upto], steps_ns[noted:upto]
        log.decode_run(ends_ns, steps_ns, decodes, since_ns)
        pipeline.occupy(end_ns - start_ns, end_ns, upto - offset, decodes, pool.kv_tokens)
        self.offset = upto
        return scheduler.commit_uniform(upto - offset, end_ns)
