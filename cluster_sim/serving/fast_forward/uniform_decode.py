"""Uniform decode: the decode-only steps of one unchanged batch on a single stage, as one vector."""

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.stage_plan import StagePlan
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class UniformDecode(StagePlan):
    """Steps of one pool."""

    __slots__ = ()

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks those steps take that are not committed yet and scheduled before ``time_ns``."""
        return self._pools[0].blocks_for(self.steps_scheduled_by(time_ns - 1) - self.offset)

    def commit(self, upto: int, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the steps from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
        pool, offset, ends_ns, steps_ns = self._pools[0], self.offset, self.ends_ns, self.steps_ns
        since_ns = self.start_ns
        start_ns = since_ns + ends_ns.item(offset - 1) if offset else since_ns
        decodes = len(pool.members)
        recorded = offset
        last_tokens = pool.last_tokens
        if last_tokens.time_ns != start_ns or last_tokens.unsynchronised:
            last_tokens.gaps(decodes).record(log, self.end_ns(offset), 0, decodes)
            recorded += 1
        if upto == self.steps:
            end_ns = self._last_end_ns
            if recorded:
                ends_ns, steps_ns = ends_ns[recorded:], steps_ns[recorded:]
        else:
            end_ns = since_ns + ends_ns.item(upto - 1)
            ends_ns, steps_ns = ends_ns[recorded:upto], steps_ns[recorded:upto]
        log.decode_run(ends_ns, steps_ns, decodes, since_ns)
        pipeline.occupy(end_ns - start_ns, end_ns, upto - offset, decodes, pool.kv_tokens)
        self.offset = upto
        return self._scheduler.commit_uniform(upto - offset, end_ns)
