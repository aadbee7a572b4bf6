"""vLLM before its v1 engine, as Vidur models it: whole prompts first, and never prompts and decodes in one batch."""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.options import MOST_ITEMS
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions, WatermarkRatio
from cluster_sim.serving.schedulers.serial import SerialScheduler, tokens_below_watermark
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.serving.schedulers.vidur_options import VidurOptions
from cluster_sim.serving.sequence import Sequence


class VllmV0Options(TokenBudgetOptions, VidurOptions):
    """Whole prompts or decodes, never both; the token limit counts padding."""

    versions: ClassVar = ("0.1", "0.99")
    block_sizes: ClassVar = frozenset({1, 8, 16, 32, 64, 128, 256})

    switches = frozenset({"preemption_mode"})
    refuses_positions = True
    refuses_small_cache = True
    kernels = "vllm"

    kind: Literal["vllm_v0"] = "vllm_v0"
    watermark_ratio: WatermarkRatio = 0.01
    preemption_mode: Literal["recompute", "swap"] = Field(
        "recompute", description="Whether a preempted request is computed again or kept in host memory."
    )
    swap_blocks: int = Field(
        2048, ge=0, le=MOST_ITEMS, description="KV blocks that host memory holds for swapped requests."
    )
    swap_block_us: float = Field(
        80.0, ge=0, le=1e9, description="Time to move one block between device and host memory; the step waits for it."
    )

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return Vidur's slots and token budget."""
        return replace(default_settings(device), max_num_seqs=128, max_num_batched_tokens=16384)


@ENGINES.register("vllm_v0", VllmV0Options)
class VllmV0(SerialScheduler):
    """Prefill batches whenever the head of the queue fits, else one decode of every running sequence.

    The batch's token limit counts padding: prompts times the longest of them.  A decode needs a free block even when
    its last block has room.  With ``preemption_mode: swap`` a victim's blocks go to host memory, as long as it has
    room; it comes back before any prompt starts, in a step that preempts nobody, and the step waits for the copies.
    """

    computes_whole_prompts = True
    leaves_decodes = True

    def __init__(self, engine: VllmV0Options, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._watermark_blocks = int(engine.watermark_ratio * limits.kv_blocks)
        self._swapped: deque[Sequence] = deque()
        """Sequences in host memory, the first to come back in front."""
        self._host_blocks = engine.swap_blocks if engine.preemption_mode == "swap" else 0
        """Blocks that host memory can still take."""
        self._block_ns = engine.swap_block_us * 1000

    @classmethod
    def longest_request(cls, engine: EngineOptions, limits: SchedulerLimits) -> int:
        """Return the tokens that fit below the watermark."""
        assert isinstance(engine, VllmV0Options)
        return tokens_below_watermark(engine.watermark_ratio, limits)

    @property
    def waiting_count(self) -> int:
        """Return how many sequences wait, those in host memory included."""
        return len(self.waiting) + len(self._swapped)

    def waiting_ids(self) -> Iterable[int]:
        """Return the requests that wait, those in host memory first."""
        return [sequence.request_id for sequence in (*self._swapped, *self.queue)]

    def has_work(self) -> bool:
        """Whether anything waits or runs."""
        return super().has_work() or bool(self._swapped)

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        lefts = [sequence.output_tokens - sequence.generated for sequence in self._swapped]
        return min((left for left in (*lefts, super().fewest_batches()) if left), default=0)

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Start prompts or else decode, and bring back who was swapped out."""
        if not self._swapped:
            self._prefill(batch, now_ns)
        if batch.prefilled:
            return
        if self._order is None and self.uniform_steps():
            self.decode_pool(batch)
            return
        self.dissolve_pool()
        self._decode(batch)
        if not batch.preempted:
            self._swap_in(batch)

    def preempt(self, batch: Batch, sequence: Sequence) -> None:
        """Move a victim to host memory if that has room for it, else let it recompute."""
        blocks = self.blocks_of[sequence.key]
        if blocks > self._host_blocks:
            super().preempt(batch, sequence)
            return
        self._host_blocks -= blocks
        self.free(sequence)
        batch.delay_ns += round(blocks * self._block_ns)
        sequence.preemptions += 1
        batch.preempted.append(sequence)
        self._swapped.append(sequence)

    def _can_swap_in(self, decodes: int) -> bool:
        if len(self.blocks_of) >= self.holder_limit or decodes >= self.batch_limit:
            return False
        need = self.blocks_for(self._swapped[0].computed + 1)
        return self.free_blocks - need >= self._watermark_blocks

    def _swap_in(self, batch: Batch) -> None:
        while self._swapped and self._can_swap_in(len(batch.members)):
            sequence = self._swapped.popleft()
            blocks = self.blocks_for(sequence.computed)
            self._host_blocks += blocks
            batch.delay_ns += round(blocks * self._block_ns)
            self.allocate(sequence, blocks)
            self.grow(sequence)
            batch.decode(sequence, 1)
            batch.resumed += (sequence,)

    def remove_waiting(self, key: int) -> bool:
        """Drop a sequence that waits, here or in host memory."""
        for sequence in self._swapped:
            if sequence.key == key:
                self._swapped.remove(sequence)
                self._host_blocks += self.blocks_for(sequence.computed)
                self.forget(sequence)
                return True
        return super().remove_waiting(key)

    def is_uniform(self, decodes: int) -> bool:
        """Whether all decodes fit one batch and the waiting queue's head stays refused."""
        if decodes > self.batch_limit:
            return False
        if self._swapped:
            return not self._can_swap_in(decodes)
        if not self.waiting or len(self.blocks_of) >= self.holder_limit:
            return True
        if self.is_reordered:
            return False
        head = self.queue.head.known_tokens
        is_short = self.free_blocks - self.blocks_for(head) < self._watermark_blocks
        return is_short or head > self.limits.max_num_batched_tokens

    def _prefill(self, batch: Batch, now_ns: int) -> None:
        longest = 0
        while self.has_candidate(batch):
            sequence = self.queue.head
            blocks = self.blocks_for(sequence.known_tokens)
            if self.free_blocks - blocks < self._watermark_blocks:
                break
            longest = max(longest, sequence.known_tokens)
            if (len(batch.prefilled) + 1) * longest > self.limits.max_num_batched_tokens:
                break
            if len(self.blocks_of) >= self.holder_limit or len(batch.prefilled) >= self.batch_limit:
                break
            self.admit(sequence, now_ns)
            self.allocate(sequence, blocks)
            batch.prefill(sequence, sequence.known_tokens, self.prefilling)

    def _decode(self, batch: Batch) -> None:
        running = self.running
        running.sort(key=lambda sequence: sequence.request.arrival_ns)
        taken = 0
        while taken < len(running) and len(batch.members) < self.batch_limit:
            sequence = running[taken]
            taken += 1
            if self.free_blocks < 1:
                # The victims are behind the sequences already taken.
                self.running = running[taken:]
                has_room = self.make_room(batch, sequence)
                running = self.running
                taken = 0
                if not has_room:
                    continue
            self.grow(sequence)
            batch.decode(sequence, 1)
        self.running = running[taken:]
