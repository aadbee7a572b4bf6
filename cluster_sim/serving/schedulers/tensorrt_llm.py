"""TensorRT-LLM's in-flight batching (capacity and micro-batch scheduler of its batch manager).

Every step holds all decodes and, beside them, context chunks within ``max_num_batched_tokens`` (max_num_tokens).  Which
requests may start is the capacity policy's choice: GUARANTEED_NO_EVICT starts one only if everything started could
grow to its full length; MAX_UTILIZATION starts what fits now and pauses the one started last when memory runs out.
With KV reuse a context begins behind the blocks that an earlier request has left, which keep their content until they
are needed; what a started request may need in the end is counted as if it found nothing.
"""

from collections import deque
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.handover.legs import Leg
from cluster_sim.serving.kv_cache.base import MatchResult
from cluster_sim.serving.kv_cache.cache_choice import block_cache
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.prefix_changes import PrefixReporter
from cluster_sim.serving.kv_cache.settings import KvCacheSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, BlockSize, ChunkedPrefill, PrefixCaching
from cluster_sim.serving.schedulers.serial import UNLIMITED
from cluster_sim.serving.schedulers.serial_handover import SerialHandover
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.serving.sequence import Sequence


class TensorRtLlmOptions(TokenBudgetOptions):
    """All decodes and context chunks within max_num_batched_tokens (max_num_tokens)."""

    versions: ClassVar = ("0.5", "2.99")
    block_sizes: ClassVar = frozenset({8, 16, 32, 64, 128, 256})

    switches = frozenset({"enable_prefix_caching"})
    kernels = "trtllm"

    kind: Literal["tensorrt_llm"] = "tensorrt_llm"
    block_size: BlockSize = 32
    enable_chunked_prefill: ChunkedPrefill = True
    enable_prefix_caching: PrefixCaching = True
    capacity_policy: Literal["guaranteed_no_evict", "max_utilization"] = Field(
        "guaranteed_no_evict",
        description="Which requests may start: those that everything started leaves room for at full length, or all "
        "that fit now, at the price of pauses.",
    )

    @property
    def caches_prefixes(self) -> bool:
        """Whether blocks are reused (``enable_block_reuse``)."""
        return self.enable_prefix_caching

    @property
    def chunks_prompts(self) -> bool:
        """Whether contexts are chunked."""
        return self.enable_chunked_prefill

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return TensorRT-LLM's slots and token budget."""
        return replace(default_settings(device), max_num_seqs=2048, max_num_batched_tokens=8192)


@ENGINES.register("tensorrt_llm", TensorRtLlmOptions)
class TensorRtLlm(SerialHandover):
    """In-flight fused batching; contexts may be chunked in whole blocks."""

    def __init__(self, engine: TensorRtLlmOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._kv, self._pool = block_cache(
            KvCacheSettings(
                total_blocks=limits.kv_blocks,
                block_size=limits.block_size,
                is_caching=engine.enable_prefix_caching,
                step_tokens=limits.max_num_batched_tokens,
            )
        )
        self.has_prefix_cache = engine.enable_prefix_caching
        self._is_guaranteed = engine.capacity_policy == "guaranteed_no_evict"
        self._is_chunked = engine.enable_chunked_prefill
        self._promised: dict[int, int] = {}
        """Blocks that each started sequence needs at its full length."""
        self._promised_blocks = 0

    def reporting_caches(self) -> list[PrefixReporter]:
        return [self._kv] if isinstance(self._kv, HashedCache) else []

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Add decodes, half-done contexts and new ones."""
        if self.legs.arrived:
            self.start_arrived(now_ns, len(self.legs.arrived))
        started = deque(sorted(self.running, key=lambda sequence: sequence.order))
        self.running = []
        halves: deque[Sequence] = deque()
        budget = self.limits.max_num_batched_tokens
        while started:
            sequence = started.popleft()
            if not self.is_decoding(sequence):
                halves.append(sequence)
            elif (
                len(batch.members) < self.batch_limit
                and budget > 0
                and self._find_blocks(batch, sequence, 1, started or halves, can_wait=False)
            ):
                batch.decode(sequence, 1)
                budget -= 1
            elif sequence.computed:  # Not paused just now.
                self.running.append(sequence)
        while halves:
            sequence = halves.popleft()
            chunk = self._chunk(batch, sequence, budget)
            if chunk and self._find_blocks(batch, sequence, chunk, halves, can_wait=bool(batch.members)):
                batch.prefill(sequence, chunk, self.prefilling)
                budget -= chunk
            elif sequence.computed:
                self.running.append(sequence)
        if not batch.preempted:
            self._admit(batch, budget, now_ns)

    def _chunk(self, batch: Batch, sequence: Sequence, budget: int) -> int:
        """Return the next chunk of a context within the budget: to its end, or whole blocks; 0 without room."""
        if len(batch.members) + len(batch.prefilled) >= self.batch_limit:
            return 0
        left = sequence.known_tokens - sequence.computed
        if not self._is_chunked:
            return left if left <= budget else 0
        if left > budget and budget < self.block_size:
            return 0
        chunk = self.chunk_for(batch, sequence, budget)
        if 0 < chunk < left:
            chunk = min(left, max(1, chunk // self.block_size) * self.block_size)
        return chunk

    def _find_blocks(
        self, batch: Batch, sequence: Sequence, tokens: int, later: deque[Sequence], *, can_wait: bool
    ) -> bool:
        """Give a sequence the blocks for ``tokens`` more; return False if it is paused or must wait.

        For them those of ``later`` that were started after it are paused, then the sequence itself, unless it is
        patient or batches in flight will free some.
        """
        tokens += sequence.computed
        need = self._kv.blocks_to_extend(sequence, tokens)
        while self.free_blocks < need:
            if later and later[-1].order > sequence.order:
                self.preempt(batch, later.pop())
                continue
            if not can_wait and not self.in_flight:
                self.preempt(batch, sequence)
            return False
        self._kv.extend(sequence, tokens)
        self._count_blocks(sequence, tokens)
        return True

    def _admit(self, batch: Batch, budget: int, now_ns: int) -> None:
        while self.has_candidate(batch, budget if self._is_chunked else UNLIMITED):
            sequence = self.queue.head
            match = self._kv.match_prefix(sequence)
            if sequence.leg == Leg.WANTING:
                if not self._reserve(sequence, match):
                    return
                continue
            sequence.computed = match.tokens
            chunk = self._chunk(batch, sequence, budget)
            if not chunk or not self._may_start(sequence, match, chunk):
                sequence.computed = 0
                return
            if sequence.scheduled_ns < 0:
                sequence.cached_tokens = match.tokens
            self.admit(sequence, now_ns)
            self._kv.allocate(sequence, match, match.tokens + chunk)
            self._count_blocks(sequence, match.tokens + chunk)
            self._promise(sequence)
            batch.prefill(sequence, chunk, self.prefilling)
            budget -= chunk

    def _promise(self, sequence: Sequence) -> None:
        full = self._promised[sequence.key] = self._full_blocks(sequence)
        self._promised_blocks += full

    def _reserve(self, sequence: Sequence, match: MatchResult) -> bool:
        """Give the queue's head blocks for its whole context, which is computed elsewhere, if it may start."""
        known = sequence.known_tokens
        if not self._may_start(sequence, match, known - match.tokens):
            return False
        self.queue.leave()
        self._kv.reserve(sequence, match, known)
        self._count_blocks(sequence, known)
        self._promise(sequence)
        self.grant(sequence, match.tokens)
        return True

    def arrive(self, key: int, computed_tokens: int, generated_tokens: int, now_ns: int) -> bool:
        """Take in a context; its blocks can be found from now on."""
        is_here = super().arrive(key, computed_tokens, generated_tokens, now_ns)
        if is_here:
            self._kv.fill(self.legs.arrived[-1], computed_tokens)
        return is_here

    def keep(self, sequence: Sequence) -> None:
        """Give up the slot; what was promised is what is held."""
        del self.blocks_of[sequence.key]

    def give_back(self, sequence: Sequence) -> None:
        """Take back the blocks of a kept context."""
        self.blocks_of[sequence.key] = 0
        self.free(sequence)

    def cancel_reservation(self, sequence: Sequence) -> None:
        """Take back slot, blocks and promise."""
        if sequence.leg == Leg.ARRIVED:
            self.free(sequence)
            return
        self._kv.cancel_reservation(sequence, sequence.computed)
        self._forget_blocks(sequence)

    def _full_blocks(self, sequence: Sequence) -> int:
        return self.blocks_for(sequence.prompt_tokens + sequence.output_tokens - 1)

    def _may_start(self, sequence: Sequence, match: MatchResult, chunk: int) -> bool:
        if len(self.blocks_of) >= self.holder_limit:
            return False
        if self._is_guaranteed:
            return self._promised_blocks + self._full_blocks(sequence) <= self.total_blocks
        tokens = match.tokens + chunk
        return self._kv.blocks_to_allocate(match, tokens, tokens) <= self.free_blocks

    def cached_tokens(self, sequence: Sequence) -> int:
        """Return the tokens of a waiting sequence that are in the cache."""
        return self._kv.match_prefix(sequence).tokens

    def _count_blocks(self, sequence: Sequence, tokens: int) -> None:
        """Take in that the cache has given a sequence what ``tokens`` tokens need."""
        self.blocks_of[sequence.key] = self.blocks_for(tokens)
        self.free_blocks = self._kv.free_blocks

    def take_uniform(self, blocks: int, steps: int) -> None:
        """Take the blocks of ``steps`` uniform steps."""
        self._kv.extend_pool(self._pool, steps)
        self.free_blocks = self._kv.free_blocks

    def free(self, sequence: Sequence) -> None:
        """Take back the blocks and what was promised beyond them."""
        self._kv.free(sequence)
        self._forget_blocks(sequence)

    def _forget_blocks(self, sequence: Sequence) -> None:
        del self.blocks_of[sequence.key]
        self.free_blocks = self._kv.free_blocks
        self._promised_blocks -= self._promised.pop(sequence.key)

    def is_uniform(self, decodes: int) -> bool:
        """Whether all decodes fit one batch and no context can start."""
        budget = self.limits.max_num_batched_tokens - decodes
        if decodes > self.batch_limit or budget < 0:
            return False
        if self.legs.arrived:
            return False
        if not self.waiting or len(self.blocks_of) >= self.holder_limit:
            return True
        if decodes == self.batch_limit and self.queue.head.leg != Leg.WANTING:
            return True
        if self.is_reordered:
            return False
        head = self.queue.head
        if self._kv.may_grow_prefix(head):
            return False
        match = self._kv.match_prefix(head)
        if head.leg == Leg.WANTING:
            return not self._may_start(head, match, head.known_tokens - match.tokens)
        chunk = head.known_tokens - match.tokens
        if chunk > budget:
            chunk = budget // self.block_size * self.block_size if self._is_chunked else 0
        return not chunk or not self._may_start(head, match, chunk)

    def uniform_limit(self, pool: DecodePool) -> int:
        """Return the steps for which the free blocks last."""
        return pool.steps_within(self.free_blocks, pool.steps_to_finish())
