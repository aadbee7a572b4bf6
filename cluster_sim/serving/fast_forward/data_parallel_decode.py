"""Data-parallel decode: joint decode-only steps of several ranks, each as long as its slowest rank."""

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.stage_plan import StagePlan
from cluster_sim.serving.last_tokens import TokenGaps
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence


class DataParallelDecode(StagePlan):
    """Steps that every pool makes; ranks without a pool here have nothing to do."""

    __slots__ = ()

    def blocks_before(self, time_ns: int) -> int:
        """Return how many blocks those steps take that are not committed yet and scheduled before ``time_ns``."""
        steps = self.steps_scheduled_by(time_ns - 1) - self.offset
        return sum(pool.blocks_for(steps) for pool in self._pools)

    def rank_blocks_before(self, time_ns: int) -> dict[int, int]:
        """Return the same by rank, without those that decode nothing."""
        steps = self.steps_scheduled_by(time_ns - 1) - self.offset
        ranks = zip(self._scheduler.decoding_ranks, self._pools, strict=True)
        return {number: pool.blocks_for(steps) for number, pool in ranks}

    def commit(self, upto: int, pipeline: Pipeline, log: ReplicaLog) -> list[Sequence]:
        """Make the steps from ``offset`` up to ``upto``; return the sequences that finish in the last one."""
        pools, offset = self._pools, self.offset
        start_ns, end_ns = self.end_ns(offset - 1), self.end_ns(upto - 1)
        steps = upto - offset
        recorded = offset
        if not all(pool.last_tokens.are_all_at(start_ns) for pool in pools):
            gaps = TokenGaps()
            for pool in pools:
                gaps.merge(pool.last_tokens.gaps(len(pool)))
            gaps.record(log, self.end_ns(offset), 0, sum(map(len, pools)))
            recorded += 1
        log.decode_run(self.ends_ns[recorded:upto], self.steps_ns[recorded:upto], sum(map(len, pools)), self.start_ns)
        if log.ranks:
            self._record_ranks(log, upto, start_ns)
        for pool in pools:
            pipeline.cover(len(pool), pool.kv_tokens, steps)
        pipeline.occupy_all([end_ns], [end_ns - start_ns], steps)
        self.offset = upto
        return self._scheduler.commit_uniform(steps, end_ns)

    def _record_ranks(self, log: ReplicaLog, upto: int, start_ns: int) -> None:
        """Record the steps up to ``upto`` in the logs of the ranks that make them."""
        for number, pool in zip(self._scheduler.decoding_ranks, self._pools, strict=True):
            rank_log, recorded = log.ranks[number], self.offset
            if not pool.last_tokens.are_all_at(start_ns):
                pool.last_tokens.gaps(len(pool)).record(rank_log, self.end_ns(recorded), 0, len(pool))
                recorded += 1
            rank_log.decode_run(self.ends_ns[recorded:upto], self.steps_ns[recorded:upto], len(pool), self.start_ns)
