"""SGLang's scheduler (scheduler.py, schedule_policy.py, schedule_batch.py): prompts first, and a radix cache.

A round runs a batch of prompts if one can be built, else one decode of everything that runs.  Admission looks ahead:
what running sequences may still generate is reserved times ``new_token_ratio``, which falls while decoding goes well
and jumps up when memory runs out and sequences are retracted.  At most one prompt is half done; it goes on first.
``max_num_batched_tokens`` is SGLang's ``chunked_prefill_size``, ``block_size`` its page size; the longest output a
request may ask for is taken to be the one it gets.
"""

from typing import Final

from cluster_sim.config.engine import Engine
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.decode_pool import DecodePool
from cluster_sim.serving.kv_radix_pool import RadixPool
from cluster_sim.serving.schedulers.base import SCHEDULERS, Scheduler, SchedulerLimits
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.sglang_order import CACHE_AWARE, sort_by_cache

CLIP_TOKENS: Final = 4096
"""No more than this is reserved for the output of one sequence."""
FIRST_RATIO: Final = 0.7
LEAST_SHARE: Final = 0.14
"""The ratio's floor, as a share of its start."""
DECAY_STEPS: Final = 600
"""Decode steps without retraction in which the ratio falls to its floor."""
RETRACT_STEPS: Final = 20
"""Decode steps that must fit after a retraction."""


class Sglang(SerialScheduler):
    """One pool of KV tokens, a tree that shares them, and sequences that own the rest."""

    def __init__(self, engine: Engine, limits: SchedulerLimits) -> None:
        self.memory = RadixPool(limits.kv_blocks * limits.block_size, limits.block_size, engine.enable_prefix_caching)
        super().__init__(engine, limits)
        self.has_prefix_cache = engine.enable_prefix_caching
        if engine.policy in CACHE_AWARE:
            self._ordering = None
        self._chunked: Sequence | None = None
        """The half-done prompt, between two of its chunks."""
        self._is_chunk_flying = False
        """Whether a chunk that does not end its prompt is in an unfinished batch."""
        self._slots: dict[int, None] = {}
        """Sequences that run, are in flight or half done."""
        self._is_full = False
        """Admission failed, and nothing has left since."""
        self._start_ratio = min(1.0, FIRST_RATIO * engine.schedule_conservativeness)
        self._least_ratio = self._start_ratio * LEAST_SHARE
        self._ratio_from = self._start_ratio
        self._quiet_steps = 0
        """Decode steps since ``new_token_ratio`` was ``_ratio_from``."""

    # ------------------------------------------------------------------------------------------------------- readings

    @property
    def new_token_ratio(self) -> float:
        """The share of a running sequence's possible output that is reserved."""
        decay = (self._start_ratio - self._least_ratio) / DECAY_STEPS
        return max(self._ratio_from - decay * self._quiet_steps, self._least_ratio)

    @property
    def running_count(self) -> int:
        """Return how many sequences hold a slot."""
        return len(self._slots)

    @property
    def kv_used(self) -> int:  # type: ignore[override]
        """Return the pages that sequences hold, shared ones once."""
        return -(-self.memory.held_tokens // self.block_size)

    def has_work(self) -> bool:
        """Whether anything waits, runs or is half done."""
        return super().has_work() or self._chunked is not None

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        fewest = super().fewest_batches()
        if self._chunked is None:
            return fewest
        left = self._chunked.output_tokens - self._chunked.generated
        return min(fewest, left) if fewest else left

    # ------------------------------------------------------------------------------------------------------- formation

    def choose(self, batch: Batch, now_ns: int) -> None:
        """Build a prompt batch, or decode."""
        if self._chunked is not None or (self.waiting and not self._is_full):
            self._prefill(batch, now_ns)
        if not batch.prefilled and self.running:
            self._decode(batch)

    def _reserved(self, sequence: Sequence) -> int:
        return min(sequence.output_tokens - sequence.generated, CLIP_TOKENS)

    def _prefill(self, batch: Batch, now_ns: int) -> None:
        pool, page = self.memory, self.block_size
        ratio = self.new_token_ratio
        spoken_for = sum(self._reserved(each) * ratio for each in (*self.running, *self._in_flight.values()))
        inputs = self.engine.max_prefill_tokens
        chunk_budget = self.limits.max_num_batched_tokens
        extended = 0
        if self._chunked is not None:
            sequence, self._chunked = self._chunked, None
            chunk = min(sequence.known_tokens - sequence.computed, chunk_budget)
            spoken_for += pool.ceil(chunk)
            if sequence.computed + chunk == sequence.known_tokens:
                spoken_for += self._reserved(sequence)
            inputs -= chunk
            chunk_budget -= chunk
            extended += pool.missing(sequence, chunk)
            self.prefill(batch, sequence, chunk)
        if self.engine.policy in CACHE_AWARE:
            self.waiting = sort_by_cache(self.engine.policy, self.waiting, pool)
        chosen: list[tuple[Sequence, int]] = []
        for sequence in self.waiting:
            if len(self._slots) + len(chosen) >= self.limits.max_num_seqs:
                self._is_full = True
                break
            prefix = pool.match(sequence)
            need = sequence.known_tokens - prefix
            total = need + self._reserved(sequence) + page
            if total >= pool.reachable - spoken_for:
                self._is_full = bool(self._slots or chosen)
                break
            if pool.ceil(need) >= inputs and (batch.prefilled or chosen):
                break
            pool.lock(sequence)
            if total >= pool.reachable - spoken_for:
                pool.unlock(sequence)
                self._is_full = bool(self._slots or chosen)
                break
            chunk = need if pool.ceil(need) <= chunk_budget else chunk_budget // page * page
            if chunk <= 0 or (chunk < need and self._is_chunk_flying):
                pool.unlock(sequence)
                break
            chosen.append((sequence, chunk))
            extended += pool.missing(sequence, chunk, prefix)
            spoken_for += pool.ceil(chunk) + (self._reserved(sequence) if chunk == need else 0)
            inputs -= pool.ceil(chunk)
            chunk_budget -= pool.ceil(chunk)
            if inputs <= 0 or chunk_budget <= 0 or pool.reachable <= spoken_for:
                break
        pool.allocate(extended)
        for sequence, chunk in chosen:
            self._start(batch, sequence, chunk, now_ns)

    def _start(self, batch: Batch, sequence: Sequence, chunk: int, now_ns: int) -> None:
        self.waiting.remove(sequence)
        self._fewest_waiting = 0
        sequence.order = self._orders
        self._orders += 1
        sequence.computed = self.memory.prefix_of(sequence)
        if sequence.scheduled_ns < 0:
            sequence.scheduled_ns = now_ns
            sequence.cached_tokens = sequence.computed
        self._slots[sequence.request_id] = None
        self.prefill(batch, sequence, chunk)

    def prefill(self, batch: Batch, sequence: Sequence, chunk: int) -> None:
        """Add a chunk of a prompt, noting whether it leaves the prompt half done."""
        super().prefill(batch, sequence, chunk)
        if sequence.state is None:
            self._is_chunk_flying = True

    def _decode(self, batch: Batch) -> None:
        pool = self.memory
        needs = sum(pool.missing(sequence, 1) for sequence in self.running)
        if needs > pool.reachable:
            self._retract(batch)
            needs = sum(pool.missing(sequence, 1) for sequence in self.running)
        else:
            self._quiet_steps += 1
        pool.allocate(needs)
        for sequence in self.running:
            self.decode(batch, sequence)
        self.running = []

    def _retract(self, batch: Batch) -> None:
        """Drop those that have generated least (of these the longest inputs first) until the others can go on.

        One is kept, which alone always fits; but where other batches of the pipeline hold memory too, none may fit.
        """
        pool = self.memory
        fewest = 0 if self._in_flight else 1
        order = sorted(self.running, key=lambda each: (-each.generated, each.prompt_tokens))
        while len(order) > fewest:
            victim = order.pop()
            pool.drop(victim)
            del self._slots[victim.request_id]
            victim.computed = 0
            victim.state = None
            victim.preemptions += 1
            batch.preempted.append(victim)
            self.waiting.append(victim)
            if sum(pool.missing(sequence, 1) for sequence in order) <= pool.reachable:
                break
        kept = {sequence.request_id for sequence in order}
        self.running = [sequence for sequence in self.running if sequence.request_id in kept]
        decoded = sum(sequence.generated for sequence in self.running) + RETRACT_STEPS * len(self.running)
        most = sum(sequence.output_tokens for sequence in self.running) + 1
        self._ratio_from, self._quiet_steps = min(1.0, decoded / most), 0
        self._is_full = False
        self._is_sorted = False
        self._fewest_waiting = 0

    # ----------------------------------------------------------------------------------------------------- macro-steps

    def is_steady(self, decodes: int) -> bool:
        """Whether no prompt batch can be built."""
        return decodes > 0 and self._chunked is None and (not self.waiting or self._is_full)

    def steady_limit(self, pool: DecodePool) -> int:
        """Return how many steps the free tokens last; with eviction batches are formed singly."""
        return pool.steps_within(self.memory.free_tokens // self.block_size, pool.steps_to_finish())

    def take_steady(self, blocks: int, steps: int) -> None:
        """Take the pages of steady steps, in which the reserve falls."""
        self.memory.allocate(blocks * self.block_size)
        self._quiet_steps += steps

    def _count_again(self, sequence: Sequence) -> None:
        """Note nothing: a sequence's own count says what it holds."""

    # ------------------------------------------------------------------------------------------------------ life cycle

    def end(self, batch: Batch) -> None:
        """Put what a batch has computed into the tree; a half-done prompt waits for its next chunk."""
        if not batch.members and not batch.prefilled:
            super().end(batch)
            return
        for sequence in batch.members:
            self._return(sequence)
        for sequence, _ in batch.prefilled:
            if sequence.state is None:
                self._is_chunk_flying = False
            if sequence.state is None and sequence.request_id not in self._cancelled:
                self.land(sequence)
                self.memory.keep(sequence)
                self._chunked = sequence
                continue
            if sequence.generated < sequence.output_tokens:
                self.memory.keep(sequence)
            self._return(sequence)

    def free(self, sequence: Sequence) -> None:
        """Hand a sequence's tokens to the tree, where they can be found or evicted."""
        self.memory.finish(sequence)
        del self._slots[sequence.request_id]
        self._is_full = False

    def cancel(self, request_id: int) -> bool:
        """Drop a sequence at once, or at the end of its batch."""
        if self._chunked is not None and self._chunked.request_id == request_id:
            sequence, self._chunked = self._chunked, None
            self.free(sequence)
            return True
        return super().cancel(request_id)


@SCHEDULERS.register("sglang")
def build_sglang(engine: Engine, limits: SchedulerLimits) -> Scheduler:
    """Build the SGLang scheduler."""
    return Sglang(engine, limits)
