"""The second half of vLLM v1's step: which waiting sequences start."""

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.kv_cache.blocks import CountedBlocks
from cluster_sim.serving.lora import LoraSlots
from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.waiting_queue import WaitingQueue


class Admission:
    """Moves sequences from the waiting queue to the running list, both of which are the scheduler's.

    They start in order until the budget, a slot or memory runs out; the first that does not fit ends it.
    """

    def __init__(
        self,
        engine: Engine,
        limits: SchedulerLimits,
        kv: CountedBlocks,
        queue: WaitingQueue,
        running: dict[int, Sequence],
        prefilling: dict[int, Sequence],
        order: QueueOrder | None,
        lora: LoraSlots | None,
    ) -> None:
        self._kv = kv
        self._queue = queue
        self._running = running
        self._prefilling = prefilling
        self._order = order
        self._lora = lora
        self._most_running = limits.max_num_seqs
        self._threshold = engine.long_prefill_token_threshold or limits.max_num_batched_tokens
        self._is_chunked = engine.enable_chunked_prefill
        self._reserves_full = bool(engine.reserve_full_sequence)
        self._watermark_blocks = int(engine.watermark_ratio * kv.total)
        self._admissions = 0

    def admit(self, batch: Batch, budget: int, now_ns: int, is_deferring: bool) -> list[Sequence]:
        """Start what fits into ``budget`` tokens; return those whose known tokens this step computes to their end.
        ``is_deferring`` ends it before the first of which more than the last token is to be computed.

        Sequences whose adapter would be one too many, or that the queue order keeps out of this batch, are deferred
        and go back to the front.
        """
        deferred: list[Sequence] = []
        complete = self._admit_in_order(batch, budget, now_ns, deferred, is_deferring)
        if deferred:
            self._queue.entries.extendleft(reversed(deferred))
        return complete

    def _admit_in_order(
        self, batch: Batch, budget: int, now_ns: int, deferred: list[Sequence], is_deferring: bool
    ) -> list[Sequence]:
        waiting, running, kv, order = self._queue.entries, self._running, self._kv, self._order
        complete: list[Sequence] = []
        while waiting and budget > 0:
            if len(running) >= self._most_running:
                self._refuse(0)
                break
            sequence = waiting[0]
            if sequence.last_token_ns > now_ns:
                break  # Preempted with a token in flight: not readmitted before that has arrived.
            if self._lora is not None and not self._lora.can_run(sequence.request.attributes.lora):
                deferred.append(waiting.popleft())
                continue
            prefix = kv.find_prefix(sequence)
            known = sequence.known_tokens
            if is_deferring and prefix < known - 1:
                break
            chunk = min(known - prefix, self._threshold)
            if chunk > budget:
                if not self._is_chunked:
                    break
                chunk = budget
            if order is not None and order.sizes_chunks:
                if not order.may_join(batch.shape, prefix + chunk):
                    deferred.append(waiting.popleft())
                    continue
                if self._is_chunked:
                    chunk = order.fit_chunk(sequence, prefix, chunk, batch.shape)
            if self._reserves_full:
                blocks = self._whole_blocks(sequence, prefix, chunk)
            else:
                blocks = kv.blocks_to_admit(sequence, prefix, prefix + chunk)
            if running:
                blocks += self._watermark_blocks
            if blocks > kv.free:
                self._refuse(blocks, prefix)
                break
            budget -= chunk
            if self._start(batch, sequence, prefix, chunk, now_ns):
                complete.append(sequence)
        return complete

    def _whole_blocks(self, sequence: Sequence, prefix: int, chunk: int) -> int:
        """Return how many free blocks the sequence needs to start if they must be enough for all that is known."""
        kv = self._kv
        if not kv.slides:
            return kv.blocks_to_admit(sequence, prefix, sequence.known_tokens)
        first = kv.blocks_to_admit(sequence, prefix, prefix + chunk)
        return max(first, kv.blocks_to_reserve(sequence, sequence.known_tokens))

    def _start(self, batch: Batch, sequence: Sequence, prefix: int, chunk: int, now_ns: int) -> bool:
        """Give the queue's head a slot, blocks and its first ``chunk`` tokens behind a cached prefix; return whether
        these are all that it knows.
        """
        self._queue.leave(sequence)
        batch.delay_ns += self._kv.admit(sequence, prefix, prefix + chunk)
        sequence.computed = prefix
        if sequence.scheduled_ns < 0:
            sequence.scheduled_ns = now_ns
            sequence.cached_tokens = prefix
            batch.shape.encoder_tokens += sequence.request.attributes.encoder_tokens
        if self._lora is not None:
            batch.delay_ns += self._lora.enter(sequence.request.attributes.lora)
        sequence.order = self._admissions
        self._admissions += 1
        self._running[sequence.request_id] = sequence
        return batch.prefill(sequence, chunk, self._prefilling)

    def _refuse(self, blocks: int, prefix: int = 0) -> None:
        """Note that the head stays for want of ``blocks`` free blocks, or of a slot, and whether that lasts.

        Where windows move, a prefix may lose any of its blocks, and more with it than was reused: then the head wants
        less.
        """
        queue, order = self._queue, self._order
        queue.wanted_blocks = blocks
        if not blocks:
            queue.is_blocked = True
        else:
            queue.is_blocked = (order is None or order.is_static) and not (prefix and self._kv.slides)
