"""LightLLM: blocks of one token, and admission by the peak of memory that the batch will reach."""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, BlockSize, EngineOptions
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.serving.schedulers.vidur_options import VidurOptions
from cluster_sim.serving.sequence import Sequence


class LightLlmOptions(TokenBudgetOptions, VidurOptions):
    """Prompts when nothing runs or after max_waiting_iters decodes."""

    kind: Literal["lightllm"] = "lightllm"
    block_size: BlockSize = 1
    max_waiting_iters: int = Field(
        10, ge=0, le=1_000_000, description="Decode steps between two tries to start new prompts."
    )

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return Vidur's slots and token budget."""
        return replace(default_settings(device), max_num_seqs=128, max_num_batched_tokens=16384)

    def check(self) -> None:
        """Refuse blocks of several tokens; raises InputError."""
        if self.block_size != 1:
            raise InputError(
                "engine.block_size: lightllm keeps its cache by the token, so the block size must be 1, not "
                f"{self.block_size}"
            )


@ENGINES.register("lightllm", LightLlmOptions)
class LightLlm(SerialScheduler):
    """Decodes everything; a prompt batch is tried when nothing runs and after every ``max_waiting_iters`` decodes.

    The peak is exact because, like Vidur, the scheduler knows every output's length: with sequences sorted by what they
    have left, longest first, the k-th finishes when the first k hold all they have plus k times what it has left.
    """

    runs_in_stages = False
    computes_whole_prompts = True

    def __init__(self, engine: LightLlmOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._max_waiting_iters = engine.max_waiting_iters
        self._decodes_since_prefill = 0

    @classmethod
    def longest_request(cls, engine: EngineOptions, limits: SchedulerLimits) -> int:  # noqa: ARG003 - memory decides
        """Return the tokens whose peak stays below the whole cache."""
        return min(limits.max_model_len, limits.kv_blocks - 1)

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        if not self.running:
            self._prefill(batch, now_ns)
            if batch.prefilled:
                self._decodes_since_prefill = 0
            return
        if self._decodes_since_prefill >= self._max_waiting_iters:
            self._decodes_since_prefill = 0
            self._prefill(batch, now_ns)
            if batch.prefilled:
                return
        self._decode(batch)
        self._decodes_since_prefill += 1

    def is_uniform(self, decodes: int) -> bool:
        """Whether no prompt is tried in the next step."""
        return decodes > 0 and (not self.waiting or self._decodes_since_prefill < self._max_waiting_iters)

    def uniform_limit(self, pool: DecodePool) -> int:
        """Return the steps until prompts are tried again, as far as memory lasts."""
        steps = pool.steps_within(self.free_blocks, pool.steps_to_finish())
        return min(steps, self._max_waiting_iters - self._decodes_since_prefill) if self.waiting else steps

    def take_uniform(self, blocks: int, steps: int) -> None:
        """Take the blocks, and count the steps towards the next try, which with nothing waiting only starts the count
        again.
        """
        super().take_uniform(blocks, steps)
        period = self._max_waiting_iters
        self._decodes_since_prefill = (self._decodes_since_prefill + steps - 1) % period + 1 if period else 1

    def _prefill(self, batch: Batch, now_ns: int) -> None:
        budget = self.limits.max_num_batched_tokens
        holders = [self._use(sequence) for sequence in self.running]
        while self.has_candidate(batch):
            sequence = self.queue.head
            tokens = sequence.known_tokens
            if tokens > budget or len(self.blocks_of) >= self.holder_limit or len(batch.prefilled) >= self.batch_limit:
                return
            holders.append(self._use(sequence))
            if self._peak_tokens(holders) >= self.total_blocks:
                return
            self.admit(sequence, now_ns)
            self.allocate(sequence, tokens)
            budget -= tokens
            batch.prefill(sequence, tokens, self.prefilling)

    @staticmethod
    def _use(sequence: Sequence) -> tuple[int, int]:
        """Return (tokens to come beyond the next one, tokens by then) of a sequence."""
        if sequence.generated:
            return sequence.output_tokens - sequence.generated - 1, sequence.known_tokens
        return sequence.output_tokens - 2, sequence.prompt_tokens + 1

    @staticmethod
    def _peak_tokens(holders: list[tuple[int, int]]) -> int:
        peak = held = 0
        for count, (left, has) in enumerate(sorted(holders, key=lambda use: -use[0]), start=1):
            held += has
            peak = max(peak, left * count + held)
        return peak

    def _decode(self, batch: Batch) -> None:
        sequences, self.running = self.running, []
        while sequences:
            sequence = sequences.pop(0)
            self.running = sequences  # The victims are those not yet in the batch.
            if self.make_room(batch, sequence):
                self.allocate(sequence, 1)
                batch.decode(sequence, 1)
