"""Orca: iteration-level scheduling, whole prompts beside decodes, memory reserved for the longest possible sequence."""

from dataclasses import replace
from typing import Literal

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.schedulers.vidur_options import VidurOptions


class OrcaOptions(VidurOptions):
    """All decodes and whole prompts, no token limit."""

    kind: Literal["orca"] = "orca"

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return Vidur's slots."""
        return replace(default_settings(device), max_num_seqs=128)


@ENGINES.register("orca", OrcaOptions)
class Orca(SerialScheduler):
    """Running sequences first, then new prompts, up to ``max_num_seqs``; no token limit and no preemption."""

    reserves_whole = True
    reserves_longest = True

    def __init__(self, engine: OrcaOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._reserved_blocks = max(1, limits.max_model_len // limits.block_size)

    def is_uniform(self, decodes: int) -> bool:
        """Whether no prompt can join."""
        if decodes > self.limits.max_num_seqs:
            return False
        return not self.waiting or decodes == self.limits.max_num_seqs or self.free_blocks < self._reserved_blocks

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        limit = self.limits.max_num_seqs
        for sequence in self.running[:limit]:
            batch.decode(sequence, 1)
        del self.running[:limit]
        while len(batch.members) + len(batch.prefilled) < limit and self.has_candidate(batch):
            if self.free_blocks < self._reserved_blocks:
                return
            sequence = self.queue.head
            self.admit(sequence, now_ns)
            self.allocate(sequence, self._reserved_blocks)
            batch.prefill(sequence, sequence.known_tokens, self.prefilling)
