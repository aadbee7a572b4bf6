"""Sarathi-Serve, as Vidur models it: chunked prefills ride on decode batches, within a budget of tokens."""

from dataclasses import replace
from typing import Literal

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions, WatermarkRatio
from cluster_sim.serving.schedulers.serial import SerialScheduler, tokens_below_watermark
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.serving.schedulers.vidur_options import VidurOptions
from cluster_sim.serving.sequence import Sequence


class SarathiOptions(TokenBudgetOptions, VidurOptions):
    """All decodes, then chunks in what is left of the token budget."""

    kind: Literal["sarathi"] = "sarathi"
    watermark_ratio: WatermarkRatio = 0.01

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return Vidur's slots and token budget."""
        return replace(default_settings(device), max_num_seqs=128, max_num_batched_tokens=512)


@ENGINES.register("sarathi", SarathiOptions)
class Sarathi(SerialScheduler):
    """Decodes first, then half-done prompts, then new ones; the budget counts decodes but limits only chunks.

    The blocks of a whole prompt are taken at admission, so later chunks cannot fail.
    """

    def __init__(self, engine: SarathiOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._watermark_blocks = int(engine.watermark_ratio * limits.kv_blocks)

    @classmethod
    def longest_request(cls, engine: EngineOptions, limits: SchedulerLimits) -> int:
        """Return the tokens that fit below the watermark."""
        assert isinstance(engine, SarathiOptions)
        return tokens_below_watermark(engine.watermark_ratio, limits)

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        prefilling = self._decode(batch)
        budget = self.limits.max_num_batched_tokens - len(batch.members)
        skipped: list[Sequence] = []
        for sequence in prefilling:
            chunk = self.chunk_for(batch, sequence, budget)
            if chunk <= 0:
                skipped.append(sequence)
                continue
            budget -= chunk
            batch.prefill(sequence, chunk, self.prefilling)
        self.running = sorted(skipped + self.running, key=lambda sequence: sequence.request.arrival_ns)
        self._admit(batch, budget, now_ns)

    def is_uniform(self, decodes: int) -> bool:
        """Whether all decodes fit one batch and the waiting queue's head stays refused."""
        if decodes > self.batch_limit:
            return False
        budget = self.limits.max_num_batched_tokens - decodes
        if not self.waiting or budget <= 0 or decodes == self.batch_limit or len(self.blocks_of) >= self.holder_limit:
            return True
        head = self.queue.head.known_tokens
        return not self.is_reordered and self.free_blocks - self.blocks_for(head) < self._watermark_blocks

    def _decode(self, batch: Batch) -> list[Sequence]:
        """Add decodes up to the batch's limit and return the half-done prompts met on the way."""
        prefilling: list[Sequence] = []
        running = self.running
        taken = 0
        while taken < len(running) and len(batch.members) < self.batch_limit:
            sequence = running[taken]
            taken += 1
            if not self.is_decoding(sequence):
                prefilling.append(sequence)
                continue
            if self.free_blocks < 1:
                self.running = running[taken:]
                has_room = self.make_room(batch, sequence)
                running = self.running
                taken = 0
                if not has_room:
                    continue
            self.grow(sequence)
            batch.decode(sequence, 1)
        self.running = running[taken:]
        return prefilling

    def _admit(self, batch: Batch, budget: int, now_ns: int) -> None:
        while budget > 0 and self.has_candidate(batch, budget):
            if len(self.blocks_of) >= self.holder_limit:
                return
            if len(batch.members) + len(batch.prefilled) >= self.batch_limit:
                return
            sequence = self.queue.head
            blocks = self.blocks_for(sequence.known_tokens)
            if self.free_blocks - blocks < self._watermark_blocks:
                return
            self.admit(sequence, now_ns)
            self.allocate(sequence, blocks)
            chunk = self.chunk_for(batch, sequence, budget)
            budget -= chunk
            batch.prefill(sequence, chunk, self.prefilling)
