"""The vLLM v1 scheduler (vllm/v1/core/sched/scheduler.py, behaviour pinned by ``engine.version``).

One step hands out tokens so that every sequence's computed tokens move towards its known ones; chunked prefill, prefix
hits and resumed preemptions are all special cases of that.  Running sequences come first, in admission order; whoever
finds no block preempts the running list's tail, by recomputation only.  If nothing was preempted, waiting sequences are
admitted in order until the budget, a slot or memory runs out; the first that does not fit stops admission.

Decodes that are all scheduled in every step sit in a ``DecodePool`` and move in bulk.  The pool is a compressed form of
walking the running list and never a different model: if a walk could skip or preempt one of them, the pool is
dissolved and the list is walked.  With several stages every batch that holds nothing but decodes is a pool of its own
while they follow each other (``PipelinedPools``).  Without fast-forwarding there is no pool at all.
"""

from collections.abc import Iterable, Iterator

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.pipelined_pools import PipelinedPools
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.handover.legs import Leg, Legs
from cluster_sim.serving.kv_cache.cache_choice import block_cache
from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.kv_cache.pinned_stores import PinnedStores
from cluster_sim.serving.kv_cache.prefix_changes import PrefixReporter
from cluster_sim.serving.kv_cache.settings import KvCacheSettings
from cluster_sim.serving.last_tokens import set_last_tokens
from cluster_sim.serving.lora import LoraSlots
from cluster_sim.serving.order_choice import queue_order_of
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.queue_orders.priority import urgency
from cluster_sim.serving.queue_orders.waiting_queue import ArrivalQueue, OrderedQueue
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.serving.schedulers.vllm_admission import Admission
from cluster_sim.serving.schedulers.vllm_handover import VllmHandover
from cluster_sim.serving.schedulers.vllm_options import VllmV1Options
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.speculation import Speculation


@ENGINES.register("vllm_v1", VllmV1Options)
class VllmV1(VllmHandover, FastForwardScheduler):
    """Continuous batching with chunked prefill, running first."""

    has_ranks = True
    null_blocks = 1

    def __init__(self, engine: VllmV1Options, limits: SchedulerLimits) -> None:
        self._stores = PinnedStores(engine.host_blocks, limits.block_size) if engine.pins_stores else None
        kv, pool = block_cache(
            KvCacheSettings(
                total_blocks=limits.kv_blocks,
                block_size=limits.block_size,
                step_tokens=limits.max_num_batched_tokens,
                is_caching=engine.caches_prefixes,
                groups=limits.kv_groups,
                host_blocks=engine.host_blocks,
                host_load_block_us=engine.host_load_block_us or 0.0,
                stores=self._stores,
                store=limits.store,
            )
        )
        self.has_prefix_cache = engine.caches_prefixes
        self._limits = limits
        self._kv = kv
        self._has_windows = kv.has_windows
        self._budget = limits.max_num_batched_tokens
        self._chunk_limit = engine.long_prefill_token_threshold or self._budget
        self._is_priority = QUEUE_ORDERS.get(engine.policy).part.chooses_victims
        order = queue_order_of(engine, self._cached_tokens)
        self._order = None if self._is_priority else order
        reads_all = self._order is not None or engine.lora is not None
        self._is_exclusive = not limits.is_async
        self._queue = ArrivalQueue(reads_all=reads_all) if order is None else OrderedQueue(order, reads_all=reads_all)
        self._waiting = self._queue.present
        self._running: dict[int, Sequence] = {}
        """Admission order; includes sequences whose last token is still in flight."""
        self._prefilling: dict[int, Sequence] = {}
        """Running sequences whose prompt is not computed yet, in admission order."""
        self._pool = pool
        self._pipelined = PipelinedPools(limits.block_size)
        self._batches = 0
        self._predictor: Predictor | None = None
        self._has_prefill_interval = engine.prefill_schedule_interval > 1
        self._is_saturated = False
        """The last step that could start sequences left some waiting: then no rank waits for the others."""
        self._speculation = Speculation(engine.speculative, limits.seed) if engine.speculative else None
        self._lora = LoraSlots(engine.lora) if engine.lora else None
        self._legs = Legs()
        self._admission = Admission(
            engine, limits, kv, self._queue, self._running, self._prefilling, self._order, self._lora, self._legs
        )

    # ------------------------------------------------------------------------------------------------------- readings

    @property
    def running_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting) + len(self._legs.loading) + len(self._legs.arrived)

    @property
    def kv_used_blocks(self) -> int:
        return self._kv.used_blocks

    def validate(self) -> None:
        super().validate()
        self._kv.validate()
        assert self._prefilling.keys() <= self._running.keys(), "prompts are computed of running sequences"
        assert not self._running.keys() & set(self._waiting), "nobody runs and waits"

    def reporting_caches(self) -> list[PrefixReporter]:
        return [self._kv] if isinstance(self._kv, HashedCache) else []

    def adapters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ((), ()) if self._lora is None else self._lora.adapters(self._queue)

    def _cached_tokens(self, sequence: Sequence) -> int:
        return self._kv.match_prefix(sequence).tokens

    def waiting_ids(self) -> Iterable[int]:
        return [sequence.request_id for sequence in self._queue]

    def fewest_batches(self) -> int:
        fewest = 0
        pool = self._pool
        if pool.members:
            fewest = pool.steps_to_finish()
        walked = self._prefilling if self._limits.can_fast_forward else self._running
        if self._pipelined:
            fewest = self._pipelined.steps_to_finish()
            walked = self._prefilling
        for sequence in walked.values():
            left = sequence.output_tokens - sequence.generated
            if left and (left < fewest or not fewest):
                fewest = left
        if self._waiting:
            # The last chunk yields a token, so a prompt costs no batch beyond those of its output; at its best it is
            # all in the prefix cache but one token.
            left = self._queue.fewest_left()
            if left < fewest or not fewest:
                fewest = left
        if self._legs.arrived:
            left = self._legs.fewest_left()
            if left < fewest or not fewest:
                fewest = left
        if self._speculation is not None and fewest:
            return 1 + (fewest - 1) // (self._speculation.tokens + 1)
        return fewest

    # ---------------------------------------------------------------------------------------------- arrivals and ends

    def add(self, sequence: Sequence) -> None:
        if sequence.leg:
            self._legs.has_prefill = True
        self._queue.enter(sequence)

    def complete(self, batch: Batch) -> None:
        # In admission order, however the batch was filled: the order of frees is the order of reuse.
        finishing = batch.finishing
        if len(finishing) > 1:
            finishing = sorted(finishing, key=lambda sequence: sequence.order)
        for sequence in finishing:
            if self._running.get(sequence.key) is sequence:
                if sequence.leg == Leg.PREFILL:
                    self._hold(sequence)
                else:
                    self._free(sequence)
            if self._order is not None:
                self._order.on_end(sequence)
            self._queue.is_blocked = False

    def remove_waiting(self, key: int) -> bool:
        waiting = self._queue.remove(key)
        if waiting is None:
            return self._remove_leg(key)
        if waiting.leg == Leg.WANTING:
            self._legs.wanting -= 1
        if self._order is not None and waiting.scheduled_ns >= 0:
            self._order.on_end(waiting)
        return True

    def cancel(self, key: int) -> bool:
        if self.remove_waiting(key):
            return True
        running = self._running.get(key)
        if running is None or running.generated >= running.output_tokens:
            return False
        self._pipelined.dissolve()
        if key in self._pool.members:
            self._pool.remove(running)
        if self._order is not None:
            self._order.on_end(running)
        self._prefilling.pop(key, None)
        self._free(running)
        self._queue.is_blocked = False
        return True

    def write_back(self) -> None:
        self._pipelined.write_back()
        self._pool.write_back()
        self._pool.last_tokens.write_back(self._pool.members.values())

    # ------------------------------------------------------------------------------------------------ fast-forwarding

    def uniform_steps(self) -> int:
        pool = self._pool
        members = pool.members
        if not members or self._prefilling or len(members) > self._budget:
            return 0
        if (self._waiting or self._legs.arrived) and self._may_hold_prompts():
            return 0
        if self._stores is not None and self._is_slowed_by(self._stores):
            return 0
        steps = pool.steps_within(self._kv.free_blocks, pool.steps_to_finish())
        return self._steps_unchanged(steps) if self._has_windows else steps

    def _is_slowed_by(self, stores: PinnedStores) -> bool:
        """Whether refused stores may take the CPU longer than the GPU's step, beside which they are made."""
        assert self._predictor is not None
        decodes = len(self._pool.members)
        step = BatchShape(decodes=decodes, decode_kv_tokens=self._pool.kv_tokens)
        return self._is_exclusive or decodes * stores.refusal_ns > self._predictor.step_ns(step)

    def uniform_pools(self) -> list[DecodePool]:
        return [self._pool]

    def _steps_unchanged(self, steps: int) -> int:
        """Return how many of ``steps`` uniform steps are scheduled before windows free what the queue's head wants."""
        if not self._kv.can_fast_forward:
            return 0
        wanted = self._queue.wanted_blocks
        if not self._waiting or not wanted:
            return steps
        pool = self._pool
        assert isinstance(pool, WindowedPool)
        return pool.steps_below(wanted - self._kv.free_blocks, steps)

    def _may_hold_prompts(self) -> bool:
        """Whether a batch scheduled now could hold a prompt, or admit one."""
        if self._prefilling or self._legs.arrived:
            return True
        waiting = self._waiting
        return bool(waiting) and (not self._queue.is_blocked or self._kv.may_grow_prefix(self._queue.head))

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        pool = self._pool
        self._kv.extend_pool(pool, steps)
        finishing = pool.advance(steps)
        pool.last_tokens.time_ns = end_ns
        self._batches += steps
        if self._is_saturated and not self._waiting:
            self._is_saturated = False
        return finishing

    def pipelined_pools(self) -> list[DecodePool]:
        if (
            self._has_windows
            or self._stores is not None
            or self._may_hold_prompts()
            or len(self._running) > self._budget
        ):
            return []  # Windows give blocks back, which only the pool of a single stage counts.
        if not self._pipelined:
            self._pipelined.gather(self._running.values())
        return self._pipelined.in_turn()

    def spare_blocks(self) -> int:
        return self._kv.free_blocks

    def commit_pipelined(self, pools: list[DecodePool], turns: list[int], ends_ns: list[int]) -> list[Sequence]:
        finishing: list[Sequence] = []
        for pool, steps, end_ns in zip(pools, turns, ends_ns, strict=True):
            if steps:
                self._kv.extend_pool(pool, steps)
                finishing += pool.advance(steps)
                pool.last_tokens.time_ns = end_ns
        self._batches += sum(turns)
        return finishing

    # ------------------------------------------------------------------------------------------------------ scheduling

    def has_work(self) -> bool:
        if self._waiting or self._prefilling or self._pool.members or self._legs.arrived:
            return True
        return bool(self._running) and not self._limits.can_fast_forward

    def schedule(self, now_ns: int) -> Batch | None:  # noqa: C901, PLR0912 - both phases of vLLM's step
        self.retry_now = False
        batch = Batch(BatchShape())
        batch.number = self._batches
        is_deferring = not self.is_prefill_step and self._can_defer()
        if self._pool.members and self._can_decode_in_bulk(is_deferring):
            budget = self._budget - len(self._pool.members)
            self._decode_in_bulk(batch)
            if self._prefilling and not is_deferring:
                budget = self._schedule_running(batch, list(self._prefilling.values()), budget, now_ns)
                for sequence in batch.completed:
                    self._join_pool(sequence)
        elif not self._prefilling and not self._pool.members and self._limits.can_fast_forward:
            budget = self._budget
        else:
            self._pipelined.dissolve()
            self._kv.catch_up()
            self._pool.dissolve()
            sequences = list(self._running.values())
            if is_deferring:
                sequences = [sequence for sequence in sequences if sequence.key not in self._prefilling]
            budget = self._schedule_running(batch, sequences, self._budget, now_ns)
            if self._limits.can_fast_forward:
                self._refill_pool()
        if batch.preempted:
            self._queue.is_blocked = False
        else:
            if self._order is not None and self._waiting:
                self._sort(self._order, now_ns)
            if self._waiting or self._legs.arrived:
                for sequence in self._admission.admit(batch, budget, now_ns, is_deferring):
                    self._join_pool(sequence)
            if self._admission.granted:
                self.granted, self._admission.granted = tuple(self._admission.granted), []
            if self._order is not None:
                self._queue.on_admitted()
            if self._has_prefill_interval and not is_deferring:
                self._is_saturated = bool(self._waiting)
        shape = batch.shape
        if not shape.decodes and not shape.prefills:
            self.unbatched_preemptions = len(batch.preempted)
            self.retry_now = bool(batch.preempted)
            return None
        self._batches += 1
        if self._stores is not None:  # The engine's core is busy with them before it sends the batch off.
            batch.delay_ns += self._stores.delay_ns(now_ns, self._computed())
        return batch

    def _computed(self) -> Iterator[tuple[int, int]]:
        """Yield the key of every running sequence and the tokens that it will have computed."""
        pooled, step = self._pool.members, self._pool.step
        for key, sequence in self._running.items():
            yield key, sequence.base + step if key in pooled else sequence.computed

    def on_scheduled(self, batch: Batch) -> None:
        end_ns = batch.end_ns
        set_last_tokens(batch.completed, batch.members, end_ns)
        self._pool.last_tokens.synchronise(end_ns)

    def use_predictor(self, predictor: Predictor) -> None:
        if self._stores is not None:
            self._predictor = predictor
        if self._order is not None:
            self._order.use_predictor(predictor)

    def _sort(self, order: QueueOrder, now_ns: int) -> None:
        if order.watches_running:
            self._pool.write_back()
        self._queue.sort(self._running.values(), now_ns)

    def _can_defer(self) -> bool:
        """Whether prompts may wait: something decodes, and none has been waiting since the last step for prompts."""
        return not self._is_saturated and len(self._running) > len(self._prefilling)

    def _can_decode_in_bulk(self, is_deferring: bool) -> bool:
        """Whether walking the running list would schedule every decode, and every prompt, unless deferred, as if it
        came last.
        """
        pool = self._pool
        decodes = len(pool.members)
        blocks = pool.blocks_taken()
        if not self._prefilling or is_deferring:
            return decodes <= self._budget and blocks <= self._kv.free_blocks
        if decodes > self._budget or len(self._prefilling) > 1:
            return False
        if self._order is not None and self._order.sizes_chunks:
            return False
        for sequence in self._prefilling.values():
            if self._kv.may_grow_prefix(sequence):
                return False  # Two sequences write equal blocks: which one does first must not depend on the form.
            if self._has_windows and next(reversed(self._running.values())) is not sequence:
                return False  # The same for the order in which windows give blocks back.
            chunk = min(sequence.known_tokens - sequence.computed, self._chunk_limit)
            if decodes + chunk > self._budget:
                if next(reversed(self._running.values())) is not sequence:
                    return False
                chunk = self._budget - decodes
            blocks += self._kv.blocks_to_extend(sequence, sequence.computed + chunk)
        return blocks <= self._kv.free_blocks

    def _decode_in_bulk(self, batch: Batch) -> None:
        pool = self._pool
        shape = batch.shape
        shape.decodes = len(pool.members)
        shape.decode_kv_tokens = pool.kv_tokens
        pool.last_tokens.fill(batch.gaps, shape.decodes)
        self._kv.extend_pool(pool, 1)
        batch.finishing = pool.advance(1)

    def _refill_pool(self) -> None:
        pool = self._pool
        for sequence in self._running.values():
            if 0 < sequence.generated < sequence.output_tokens and sequence.key not in self._prefilling:
                pool.add(sequence)

    def _schedule_running(self, batch: Batch, sequences: list[Sequence], budget: int, now_ns: int) -> int:
        """Phase 1: give running sequences tokens in order; return what is left of the budget."""
        chunks: dict[int, int] = {}
        for sequence in sequences:
            if budget <= 0:
                break
            if sequence.key not in self._running or sequence.generated >= sequence.output_tokens:
                continue
            if self._is_exclusive and sequence.last_token_ns > now_ns:
                continue
            chunk = min(sequence.known_tokens - sequence.computed, self._chunk_limit, budget)
            order = self._order
            if order is not None and order.sizes_chunks and sequence.key in self._prefilling:
                chunk = order.fit_chunk(sequence, sequence.computed, chunk, batch.shape)
                if not chunk:
                    continue
            drafts = self._drafts(sequence, budget)
            is_refused = False
            if self._has_windows:
                self._kv.free_skipped(sequence)
            while self._kv.blocks_to_extend(sequence, sequence.computed + chunk + drafts) > self._kv.free_blocks:
                victim = self._victim()
                budget += self._preempt(batch, victim, chunks.pop(victim.key, 0))
                if victim is sequence:
                    is_refused = True
                    break
            if is_refused:
                break
            budget -= chunk + drafts
            if drafts:
                chunk += self._verify(batch, sequence, drafts)
            self._kv.extend(sequence, sequence.computed + chunk)
            chunks[sequence.key] = chunk
            if sequence.key in self._prefilling:
                batch.prefill(sequence, chunk, self._prefilling)
            else:
                batch.decode(sequence, chunk)
        return budget

    def _drafts(self, sequence: Sequence, budget: int) -> int:
        """Return the drafts that a decode verifies beside its next token."""
        if self._speculation is None or sequence.key in self._prefilling:
            return 0
        return self._speculation.drafts(sequence, budget)

    def _verify(self, batch: Batch, sequence: Sequence, drafts: int) -> int:
        """Put drafts into the batch and return how many of them will prove right."""
        assert self._speculation is not None
        accepted = self._speculation.accepted(sequence, drafts)
        if not batch.shape.draft_tokens:
            batch.delay_ns += self._speculation.draft_ns
        batch.shape.draft_tokens += drafts
        batch.accepted_tokens += accepted
        batch.verified = (*batch.verified, accepted)
        return accepted

    def _victim(self) -> Sequence:
        running: Iterable[Sequence] = self._running.values()
        if self._legs.has_prefill:  # What is computed for another replica must stay until it has been read.
            running = [sequence for sequence in running if sequence.leg != Leg.PREFILL or not sequence.generated]
        elif not self._is_priority:
            return next(reversed(self._running.values()))
        return max(running, key=urgency) if self._is_priority else list(running)[-1]

    def _preempt(self, batch: Batch, victim: Sequence, chunk: int) -> int:
        """Take slot and blocks from a running sequence; return the tokens of this very step that it gives back."""
        self._free(victim)
        if victim.generated >= victim.output_tokens and not chunk:
            return 0  # Its last token is in flight and will be delivered; only the memory comes back early.
        if chunk:
            batch.remove(victim)
        self._prefilling.pop(victim.key, None)
        victim.computed = 0
        victim.preemptions += 1
        batch.preempted.append(victim)
        self._queue.put_back(victim)
        return chunk

    def _join_pool(self, sequence: Sequence) -> None:
        if self._limits.can_fast_forward and sequence.generated < sequence.output_tokens:
            self._pool.add(sequence)

    def _free(self, sequence: Sequence) -> None:
        """Take slot, blocks and adapter back from a running sequence."""
        self._kv.free(sequence)
        self._leave(sequence)
