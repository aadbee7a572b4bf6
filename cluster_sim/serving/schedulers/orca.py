"""Orca: iteration-level scheduling, whole prompts beside decodes, memory reserved for the longest possible sequence."""

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import SCHEDULERS, Scheduler
from cluster_sim.serving.schedulers.serial import SerialScheduler


class Orca(SerialScheduler):
    """Running sequences first, then new prompts, up to ``max_num_seqs``; no token limit and no preemption."""

    reserves_whole = True

    def __init__(self, engine: Engine, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._reserved_blocks = max(1, limits.max_model_len // limits.block_size)

    def is_uniform(self, decodes: int) -> bool:
        """Whether no prompt can join."""
        if decodes > self.limits.max_num_seqs:
            return False
        return not self.waiting or decodes == self.limits.max_num_seqs or self.free_blocks < self._reserved_blocks

    def choose(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        limit = self.limits.max_num_seqs
        for sequence in self.running[:limit]:
            self.decode(batch, sequence)
        del self.running[:limit]
        while len(batch.members) + len(batch.prefilled) < limit and self.has_candidate(batch):
            if self.free_blocks < self._reserved_blocks:
                return
            sequence = self.waiting[0]
            self.admit(sequence, now_ns)
            self.allocate(sequence, self._reserved_blocks)
            self.prefill(batch, sequence, sequence.known_tokens)


@SCHEDULERS.register("orca")
def build_orca(engine: Engine, limits: SchedulerLimits) -> Scheduler:
    """Build the Orca scheduler."""
    return Orca(engine, limits)
