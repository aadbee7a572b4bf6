"""Admission of waiting sequences: the second half of vLLM v1's step."""

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.handover.legs import Leg, Legs
from cluster_sim.serving.kv_cache.base import BlockCache, MatchResult
from cluster_sim.serving.lora import LoraSlots
from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.queue_orders.waiting_queue import WaitingQueue
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.vllm_options import VllmV1Options
from cluster_sim.serving.sequence import Sequence


class Admission:
    """Moves sequences from the waiting queue to the running list, both of which are the scheduler's.

    They start in order until the budget, a slot or memory runs out; the first that does not fit ends it.
    """

    def __init__(
        self,
        engine: VllmV1Options,
        limits: SchedulerLimits,
        kv: BlockCache,
        queue: WaitingQueue,
        running: dict[int, Sequence],
        prefilling: dict[int, Sequence],
        order: QueueOrder | None,
        lora: LoraSlots | None,
        legs: Legs,
    ) -> None:
        self._kv = kv
        self._queue = queue
        self._running = running
        self._prefilling = prefilling
        self._order = order
        self._lora = lora
        self._legs = legs
        self.granted: list[Sequence] = []
        """Sequences that have got blocks for prompts computed elsewhere."""
        self._most_running = limits.max_num_seqs
        self._chunk_limit = engine.long_prefill_token_threshold or limits.max_num_batched_tokens
        self._is_chunked = engine.enable_chunked_prefill
        self._post_ns = engine.post_ns
        self._reserves_full = bool(engine.reserve_full_sequence)
        self._watermark_blocks = int(engine.watermark_ratio * kv.total_blocks)
        self._admissions = 0

    def admit(self, batch: Batch, budget: int, now_ns: int, is_deferring: bool) -> list[Sequence]:
        """Start what fits into ``budget`` tokens; return those whose known tokens this step computes to their end.
        ``is_deferring`` ends it before the first of which more than the last token is to be computed.

        Sequences whose adapter would be one too many, or that the queue order keeps out of this batch, are deferred
        and keep their places.
        """
        arrived: list[Sequence] = []
        if self._legs.arrived:
            arrived = self._start_arrived(batch, budget, now_ns)
            budget -= len(arrived)
        complete = self._admit_in_order(batch, budget, now_ns, is_deferring)
        if self._queue.deferred:
            self._queue.restore()
        return arrived + complete if arrived else complete

    def _admit_in_order(  # noqa: C901 - one loop of vLLM's
        self, batch: Batch, budget: int, now_ns: int, is_deferring: bool
    ) -> list[Sequence]:
        queue, running, kv, order = self._queue, self._running, self._kv, self._order
        waiting = queue.present
        complete: list[Sequence] = []
        while waiting and budget > 0:
            if len(running) >= self._most_running:
                self._refuse(0)
                break
            sequence = queue.head
            if sequence.last_token_ns > now_ns:
                break  # Preempted with a token in flight: not readmitted before that has arrived.
            if self._lora is not None and not self._lora.can_run(sequence.request.attributes.lora):
                queue.defer()
                continue
            match = kv.match_prefix(sequence)
            if sequence.leg == Leg.WANTING:
                if not self._reserve(sequence, match):
                    break
                batch.delay_ns += self._post_ns
                continue
            prefix = match.tokens
            known = sequence.known_tokens
            if is_deferring and prefix < known - 1:
                break
            chunk = min(known - prefix, self._chunk_limit)
            if chunk > budget:
                if not self._is_chunked:
                    break
                chunk = budget
            if order is not None and order.sizes_chunks:
                if not order.may_join(batch.shape, prefix + chunk):
                    queue.defer()
                    continue
                if self._is_chunked:
                    chunk = order.fit_chunk(sequence, prefix, chunk, batch.shape)
            tokens = prefix + chunk
            blocks = kv.blocks_to_allocate(match, tokens, known if self._reserves_full else tokens)
            if running:
                blocks += self._watermark_blocks
            if blocks > kv.free_blocks:
                self._refuse(blocks, prefix)
                break
            budget -= chunk
            if self._start(batch, sequence, match, chunk, now_ns):
                complete.append(sequence)
        return complete

    def _start(self, batch: Batch, sequence: Sequence, match: MatchResult, chunk: int, now_ns: int) -> bool:
        """Give the queue's head a slot, blocks and its first ``chunk`` tokens behind a cached prefix; return whether
        these are all that it knows.
        """
        self._queue.leave()
        allocation = self._kv.allocate(sequence, match, match.tokens + chunk)
        batch.delay_ns += allocation.load_ns
        sequence.computed = allocation.cached_tokens
        if sequence.scheduled_ns < 0:
            sequence.scheduled_ns = now_ns
            sequence.cached_tokens = allocation.cached_tokens
            batch.shape.encoder_tokens += sequence.request.attributes.encoder_tokens
        return self._run(batch, sequence, chunk)

    def _run(self, batch: Batch, sequence: Sequence, chunk: int) -> bool:
        """Give a sequence that has its blocks a slot, and compute ``chunk`` tokens of it."""
        if self._lora is not None:
            batch.delay_ns += self._lora.enter(sequence.request.attributes.lora)
        sequence.order = self._admissions
        self._admissions += 1
        self._running[sequence.key] = sequence
        return batch.prefill(sequence, chunk, self._prefilling)

    def _start_arrived(self, batch: Batch, budget: int, now_ns: int) -> list[Sequence]:
        """Start sequences whose prompts were computed elsewhere but for the last token; return them."""
        started: list[Sequence] = []
        while self._legs.arrived and budget > 0 and len(self._running) < self._most_running:
            sequence = self._legs.arrived[0]
            if self._lora is not None and not self._lora.can_run(sequence.request.attributes.lora):
                break
            self._legs.start()
            sequence.scheduled_ns = now_ns
            budget -= sequence.known_tokens - sequence.computed
            self._run(batch, sequence, sequence.known_tokens - sequence.computed)
            started.append(sequence)
        return started

    def _reserve(self, sequence: Sequence, match: MatchResult) -> bool:
        """Give the queue's head blocks for its whole prompt, which is computed elsewhere, if they are free."""
        known = sequence.known_tokens
        blocks = self._kv.blocks_to_allocate(match, known, known)
        if self._running:
            blocks += self._watermark_blocks
        if blocks > self._kv.free_blocks:
            self._refuse(blocks, match.tokens)
            return False
        self._queue.leave()
        self._kv.reserve(sequence, match, known)
        sequence.cached_tokens = match.tokens
        self._legs.grant(sequence)
        self.granted.append(sequence)
        return True

    def _refuse(self, blocks: int, prefix: int = 0) -> None:
        """Record that the head stays for want of ``blocks`` free blocks, or of a slot, and whether that lasts.

        If windows move, a prefix may lose any of its blocks, and more with it than was reused: then the head wants
        less.
        """
        queue, order = self._queue, self._order
        queue.wanted_blocks = blocks
        if not blocks:
            queue.is_blocked = True
        else:
            queue.is_blocked = (order is None or order.is_static) and not (prefix and self._kv.has_windows)
