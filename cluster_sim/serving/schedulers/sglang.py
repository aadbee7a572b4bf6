"""SGLang's scheduler (scheduler.py, schedule_policy.py, schedule_batch.py): prompts first, and a radix cache.

A round runs a batch of prompts if one can be built, else one decode of everything that runs; with mixed chunks a batch
of prompts carries the decodes too, and its budgets count them.  Admission looks ahead:
what running sequences may still generate is reserved times ``new_token_ratio``, which falls while decoding goes well
and jumps up when memory runs out and sequences are retracted.  At most one prompt is half done; it goes on first.
``max_num_batched_tokens`` is SGLang's ``chunked_prefill_size``, ``block_size`` its page size; the longest output a
request may ask for is taken to be the one it gets.
"""

from collections.abc import Iterable
from typing import Final

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.handover.preallocation import Preallocation
from cluster_sim.serving.kv_cache.prefix_changes import PrefixReporter
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_host import RadixHost
from cluster_sim.serving.queue_orders.base import TreeOrder
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import (
    ENGINES,
    EngineOptions,
)
from cluster_sim.serving.schedulers.serial import UNLIMITED
from cluster_sim.serving.schedulers.serial_handover import SerialHandover
from cluster_sim.serving.schedulers.sglang_options import SglangOptions
from cluster_sim.serving.sequence import Sequence

CLIP_TOKENS: Final = 4096
"""No more than this is reserved for the output of one sequence."""
FIRST_RATIO: Final = 0.7
LEAST_SHARE: Final = 0.14
"""The ratio's floor, as a share of its start."""
DECAY_STEPS: Final = 600
"""Decode steps without retraction in which the ratio falls to its floor."""
RETRACT_STEPS: Final = 20
"""Decode steps that must fit after a retraction."""


class _Plan:
    """A batch of prompts while it is built: what it may still take, and what it has."""

    def __init__(self, spoken_for: float, input_tokens: int, chunk_tokens: int, has_half: bool) -> None:
        self.spoken_for = spoken_for
        """Tokens of memory that are reserved, fractions of outputs among them."""
        self.input_tokens = input_tokens
        self.chunk_tokens = chunk_tokens
        self.has_half = has_half
        """Whether a prompt is left half done, here or in a batch in flight."""
        self.extended = 0
        """Tokens in new pages."""
        self.shape = BatchShape()
        self.chosen: list[tuple[Sequence, int]] = []


@ENGINES.register("sglang", SglangOptions)
class Sglang(SerialHandover):
    """One pool of KV tokens, a tree that shares them, and sequences that own the rest."""

    has_ranks = True
    has_radix_tree = True

    def __init__(self, engine: SglangOptions, limits: SchedulerLimits) -> None:
        page = limits.block_size
        host = None
        if engine.hicache_ratio:
            host = RadixHost(
                int(limits.kv_blocks * engine.hicache_ratio) * page,
                page,
                engine.hicache_write_policy,
                engine.hicache_load_back_tokens,
                engine.host_load_block_us or 0.0,
            )
        self.memory = RadixCache(limits.kv_blocks, page, engine.enable_prefix_caching, host)
        super().__init__(engine, limits)
        self.has_prefix_cache = engine.enable_prefix_caching
        self._is_in_tree_order = isinstance(self._order, TreeOrder)
        """Whether the order is read off the radix tree when prompts are chosen."""
        if isinstance(self._order, TreeOrder):
            self.queue, self._order = self._order.new_queue(self.memory), None
            self.waiting = self.queue.present
        self._predictor: Predictor | None = None
        self._is_mixed = engine.enable_mixed_chunk
        self._max_prefill_tokens = engine.max_prefill_tokens
        self._chunk_size = limits.max_num_batched_tokens if engine.enable_chunked_prefill else UNLIMITED
        self._chunked: Sequence | None = None
        """The half-done prompt, between two of its chunks."""
        self._is_chunk_in_flight = False
        """Whether a chunk that does not end its prompt is in an unfinished batch."""
        self._slots: dict[int, None] = {}
        """Sequences that run, are in flight or half done."""
        self._is_full = False
        """Admission failed, and nothing has left since."""
        self._preallocation = Preallocation(limits)
        self._start_ratio = min(1.0, FIRST_RATIO * engine.schedule_conservativeness)
        self._least_ratio = self._start_ratio * LEAST_SHARE
        self._ratio_from = self._start_ratio
        self._quiet_steps = 0
        """Decode steps since ``new_token_ratio`` was ``_ratio_from``."""

    @classmethod
    def longest_request(cls, engine: EngineOptions, limits: SchedulerLimits) -> int:  # noqa: ARG003 - memory decides
        """Return the tokens that leave two pages free."""
        return min(limits.max_model_len, (limits.kv_blocks - 2) * limits.block_size)

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
    def kv_used_blocks(self) -> int:
        """Return the pages that sequences hold, shared ones once."""
        return self.memory.used_blocks

    def validate(self) -> None:
        super().validate()
        self.memory.validate()

    def reporting_caches(self) -> list[PrefixReporter]:
        return [self.memory] if self.has_prefix_cache else []

    def has_work(self) -> bool:
        """Whether anything waits, runs or is half done."""
        return super().has_work() or self._chunked is not None or bool(self._preallocation.queue)

    @property
    def waiting_count(self) -> int:
        """Return how many sequences wait, for their prompts too."""
        return len(self.waiting) + self.legs.wanting + self.legs.waiting_count

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        fewest = super().fewest_batches()
        if self._chunked is None:
            return fewest
        left = self._chunked.output_tokens - self._chunked.generated
        return min(fewest, left) if fewest else left

    # ------------------------------------------------------------------------------------------------------- scheduling

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Build a prompt batch, or decode, or both if batches are mixed."""
        if self._preallocation.queue:
            self._preallocate()
        if self.legs.arrived:
            self._start_arrived(now_ns)
        if self._chunked is not None or (self.waiting and not self._is_full):
            self._prefill(batch, now_ns)
        if self.running and (self._is_mixed or not batch.prefilled):
            self._decode(batch)
        host = self.memory.host
        if host is not None:
            load_ns, write_ns = host.take_waits_ns()
            if load_ns and self._predictor is not None:
                load_ns = max(0, load_ns - self._predictor.step_ns(batch.shape))
            batch.delay_ns += write_ns + load_ns

    def use_predictor(self, predictor: Predictor) -> None:
        """Keep the predictor, which says how much of a load hides behind a step."""
        super().use_predictor(predictor)
        self._predictor = predictor

    def _reserved(self, sequence: Sequence) -> int:
        return min(sequence.output_tokens - sequence.generated, CLIP_TOKENS)

    def _prefill(self, batch: Batch, now_ns: int) -> None:
        """Build a batch of prompts: the half-done one first, then those that wait, until something runs out."""
        ratio = self.new_token_ratio
        decodes = len(self.running) if self._is_mixed else 0
        staying = (*self.running, *self.in_flight.values())
        plan = _Plan(
            decodes + sum((self._reserved(sequence) * ratio for sequence in staying), 0.0),
            self._max_prefill_tokens - decodes,
            self._chunk_size - decodes,
            self._is_chunk_in_flight,
        )
        if self._chunked is not None and not self._continue(batch, plan, self._chunked):
            return
        if self._is_in_tree_order:
            self.queue.sort((), now_ns)
        plan.shape = BatchShape(decodes=decodes, prefills=[*batch.shape.prefills])
        for sequence in self.queue:
            if not self._consider(plan, sequence):
                break
        self.memory.take(plan.extended)
        for sequence, chunk in plan.chosen:
            self._start(batch, sequence, chunk, now_ns)

    def _continue(self, batch: Batch, plan: _Plan, sequence: Sequence) -> bool:
        """Add the next chunk of the half-done prompt; return False if it must wait for memory or budget."""
        pool = self.memory
        chunk = self.chunk_for(batch, sequence, min(plan.chunk_tokens, self._room_for(sequence)))
        if chunk <= 0:
            return False
        self._chunked = None
        is_last = sequence.computed + chunk == sequence.known_tokens
        plan.spoken_for += pool.round_up(chunk) + (self._reserved(sequence) if is_last else 0)
        plan.input_tokens -= chunk
        plan.chunk_tokens -= chunk
        plan.extended += pool.blocks_to_extend(sequence, sequence.computed + chunk) * self.block_size
        plan.has_half |= not is_last
        self._add_chunk(batch, sequence, chunk)
        return True

    def _consider(self, plan: _Plan, sequence: Sequence) -> bool:
        """Take a waiting sequence into the batch if it fits; return whether to go on to the next one."""
        pool = self.memory
        if len(self._slots) + len(plan.chosen) >= self.limits.max_num_seqs:
            self._is_full = True
            return False
        prefix = pool.match_prefix(sequence).tokens
        need = sequence.known_tokens - prefix
        total = need + self._reserved(sequence) + self.block_size
        if total >= pool.free_tokens - plan.spoken_for:
            self._is_full = bool(self._slots or plan.chosen)
            return False
        hosted = pool.match_host(sequence)
        if pool.round_up(need - hosted) >= plan.input_tokens and plan.shape.prefills:
            return False
        pool.lock(sequence)
        if total >= pool.free_tokens - plan.spoken_for:
            pool.unlock(sequence)
            self._is_full = bool(self._slots or plan.chosen)
            return False
        prefix += hosted
        need -= hosted
        chunk = self._first_chunk(plan, sequence, prefix)
        if chunk <= 0:
            pool.unlock(sequence)
            return chunk < 0
        if pool.host is not None:
            pool.load(sequence, hosted)
        plan.has_half |= chunk < need
        plan.chosen.append((sequence, chunk))
        plan.shape.prefills.append((chunk, prefix))
        plan.extended += pool.round_up(prefix + chunk) - prefix
        plan.spoken_for += pool.round_up(chunk) + (self._reserved(sequence) if chunk == need else 0)
        plan.input_tokens -= pool.round_up(chunk)
        plan.chunk_tokens -= pool.round_up(chunk)
        return plan.input_tokens > 0 and plan.chunk_tokens > 0 and pool.free_tokens > plan.spoken_for

    def _first_chunk(self, plan: _Plan, sequence: Sequence, prefix: int) -> int:
        """Return how much of a prompt behind its prefix is computed: 0 for nothing and the end of the batch, -1 if
        the queue order keeps it out; only one prompt may be left half done.
        """
        page, need = self.block_size, sequence.known_tokens - prefix
        chunk = need if self.memory.round_up(need) <= plan.chunk_tokens else plan.chunk_tokens // page * page
        if chunk > 0 and self._order is not None and self._order.sizes_chunks:
            fitting = self._order.fit_chunk(sequence, prefix, chunk, plan.shape)
            if not fitting:
                return -1
            chunk = min(chunk, self.memory.round_up(fitting))
        return 0 if chunk <= 0 or (chunk < need and plan.has_half) else chunk

    def _start(self, batch: Batch, sequence: Sequence, chunk: int, now_ns: int) -> None:
        self.queue.remove(sequence.key)
        sequence.order = self._admissions
        self._admissions += 1
        sequence.computed = self.memory.held_prefix(sequence)
        if sequence.scheduled_ns < 0:
            sequence.scheduled_ns = now_ns
            sequence.cached_tokens = sequence.computed
        self._slots[sequence.key] = None
        self._add_chunk(batch, sequence, chunk)

    def _add_chunk(self, batch: Batch, sequence: Sequence, chunk: int) -> None:
        """Add a chunk of a prompt, noting whether it leaves the prompt half done."""
        if not batch.prefill(sequence, chunk, self.prefilling):
            self._is_chunk_in_flight = True

    def mark_in_flight(self, batch: Batch) -> None:
        """Count a batch's sequences as in flight: prompts, then decodes."""
        for sequence, _ in batch.prefilled:
            self.in_flight[sequence.key] = sequence
        for sequence in batch.members:
            self.in_flight[sequence.key] = sequence

    def _room_for(self, sequence: Sequence) -> int:
        """Return how many tokens of a half-done prompt memory holds, after those that decode in the same batch."""
        pool = self.memory
        room = pool.free_tokens - (self._needs() if self._is_mixed else 0)
        return max(0, room // self.block_size * self.block_size + pool.round_up(sequence.computed) - sequence.computed)

    def _needs(self) -> int:
        """Return the tokens in new pages that a decode of everything between two batches takes."""
        return self._needs_of(self.running)

    def _needs_of(self, sequences: Iterable[Sequence]) -> int:
        """Return the tokens in new pages that one more token of each sequence takes."""
        cache = self.memory
        return sum(cache.blocks_to_extend(sequence, sequence.computed + 1) for sequence in sequences) * self.block_size

    def _decode(self, batch: Batch) -> None:
        pool = self.memory
        needs = self._needs()
        if needs > pool.free_tokens:
            self._retract(batch)
            needs = self._needs()
        elif not batch.prefilled:
            self._quiet_steps += 1
        pool.take(needs)
        for sequence in self.running:
            batch.decode(sequence, 1)
        self.running = []

    def _retract(self, batch: Batch) -> None:
        """Drop those that have generated least (of these the longest inputs first) until the others can go on.

        One is kept, which alone always fits; but if a half-done prompt or other batches of the pipeline hold memory
        too, none may fit.
        """
        pool = self.memory
        fewest = 0 if self.in_flight or batch.prefilled or self._chunked is not None else 1
        order = sorted(self.running, key=lambda sequence: (-sequence.generated, sequence.prompt_tokens))
        while len(order) > fewest:
            victim = order.pop()
            pool.drop(victim)
            del self._slots[victim.key]
            victim.computed = 0
            victim.preemptions += 1
            batch.preempted.append(victim)
            self.queue.enter(victim)
            if self._needs_of(order) <= pool.free_tokens:
                break
        kept = {sequence.key for sequence in order}
        self.running = [sequence for sequence in self.running if sequence.key in kept]
        decoded = sum(sequence.generated for sequence in self.running) + RETRACT_STEPS * len(self.running)
        most = sum(sequence.output_tokens for sequence in self.running) + 1
        self._ratio_from, self._quiet_steps = min(1.0, decoded / most), 0
        self._is_full = False

    # ------------------------------------------------------------------------------------------------------- hand-over

    def reserve(self, sequence: Sequence) -> None:
        """Put a sequence into the pre-allocation queue."""
        self.legs.want(sequence)
        self._preallocation.queue.append(sequence)

    def _fits_next(self) -> bool:
        """Whether memory for the next prompt of the pre-allocation queue may be taken."""
        decoding = [*self.running, *self.in_flight.values()]
        others = len(self.legs.loading) + len(self.legs.arrived)
        return self._preallocation.fits(decoding, others, self.memory.free_tokens)

    def _preallocate(self) -> None:
        """Take memory for prompts computed elsewhere, in order."""
        while self._preallocation.queue and self._fits_next():
            sequence = self._preallocation.queue.popleft()
            self.memory.take(self.memory.round_up(sequence.known_tokens))
            self.grant(sequence, 0)

    def _start_arrived(self, now_ns: int) -> None:
        for sequence in self.start_arrived(now_ns, self.limits.max_num_seqs - len(self._slots)):
            self._slots[sequence.key] = None

    def keep(self, sequence: Sequence) -> None:
        """Put a computed prompt into the tree and hold it there, without its slot."""
        self.memory.insert(sequence)
        del self._slots[sequence.key]
        self._is_full = False

    def give_back(self, sequence: Sequence) -> None:
        """Let go of a kept prompt, which stays in the tree."""
        self.memory.free(sequence)
        self._is_full = False

    def cancel_reservation(self, sequence: Sequence) -> None:
        """Take the memory of a prompt back that has not come, or has come and not run."""
        self.memory.drop(sequence)
        self._is_full = False

    def remove_waiting(self, key: int) -> bool:
        """Drop a sequence that waits, in whichever queue."""
        if self._preallocation.remove(key):
            self.legs.wanting -= 1
            self._has_news = True
            return True
        return super().remove_waiting(key)

    # ------------------------------------------------------------------------------------------------- fast-forwarding

    def is_uniform(self, decodes: int) -> bool:
        """Whether no prompt batch can be built."""
        if decodes <= 0 or self._chunked is not None or self.legs.arrived:
            return False
        present = len(self._slots) + len(self.legs.loading)
        if self._preallocation.queue and not self._preallocation.stays_refused(present, self.memory.free_tokens):
            return False
        return not self.waiting or self._is_full

    def uniform_limit(self, pool: DecodePool) -> int:
        """Return how many steps the free tokens last; with eviction batches are scheduled singly."""
        return pool.steps_within(self.memory.unused_tokens // self.block_size, pool.steps_to_finish())

    def take_uniform(self, blocks: int, steps: int) -> None:
        """Take the pages of uniform steps, in which the reserve falls."""
        self.memory.take(blocks * self.block_size)
        self._quiet_steps += steps

    def _recount_blocks(self, sequence: Sequence) -> None:
        """Do nothing: a sequence's own count says what it holds."""

    # ------------------------------------------------------------------------------------------------------ life cycle

    def complete(self, batch: Batch) -> None:
        """Put what a batch has computed into the tree; a half-done prompt waits for its next chunk."""
        if not batch.members and not batch.prefilled:
            super().complete(batch)
            return
        for sequence in batch.members:
            self._return(sequence)
        for sequence, _ in batch.prefilled:
            if sequence.key in self.prefilling:
                self._is_chunk_in_flight = False
                self.leave_batch(sequence)
                self.memory.insert(sequence)
                self._chunked = sequence
                continue
            if sequence.generated < sequence.output_tokens:
                self.memory.insert(sequence)
            self._return(sequence)

    def free(self, sequence: Sequence) -> None:
        """Hand a sequence's tokens to the tree, where they can be found or evicted."""
        self.memory.free(sequence)
        del self._slots[sequence.key]
        self._is_full = False

    def cancel(self, key: int) -> bool:
        """Drop a sequence that waits, stands between two batches or is half done."""
        if self._chunked is not None and self._chunked.key == key:
            sequence, self._chunked = self._chunked, None
            del self.prefilling[key]
            self.free(sequence)
            return True
        return super().cancel(key)
