"""Common part of the schedulers that Vidur models: a sequence is in at most one unfinished batch.

A sequence waits, or is in flight in a batch, or stands in the running list between two batches.  It joins the running
list only when its batch ends, so with several pipeline stages the first batch takes all decodes that are ready and
later ones what is left.  Memory is counted by sequence, because some of these engines reserve more than they have
computed.

If the next batches are one decode of everything that runs, the running list is gathered into a ``DecodePool`` and moves
in bulk; ``is_uniform`` of each engine says when that is so.  The next call of ``schedule`` dissolves it, unless the
engine ``leaves_decodes``: then they stay in the pool while prompts run, which join them.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Final

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool, ReservedPool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.last_tokens import set_last_tokens
from cluster_sim.serving.order_choice import queue_order_of
from cluster_sim.serving.queue_orders.waiting_queue import queue_in
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.engine_options import EngineOptions
from cluster_sim.serving.sequence import Sequence

UNLIMITED: Final = 1 << 60
"""Tokens of a prompt that a step may hold if prompts are computed whole."""


def tokens_below_watermark(watermark_ratio: float, limits: SchedulerLimits) -> int:
    """Return the most tokens of a request that leaves the watermark free on an empty replica."""
    blocks = limits.kv_blocks - max(1, int(watermark_ratio * limits.kv_blocks))
    return min(limits.max_model_len, blocks * limits.block_size)


class SerialScheduler(Scheduler, FastForwardScheduler):
    """Keeps the queues, the blocks and the counters; subclasses only choose the next batch.

    ``batch_limit`` is how many sequences a batch may hold and ``holder_limit`` how many may hold memory.
    """

    reserves_whole = False
    """Whether a sequence gets all its memory at admission."""
    leaves_decodes = False
    """Whether ``fill_batch`` fills a batch of prompts without a look at decodes, and else dissolves the pool itself."""

    def __init__(self, engine: EngineOptions, limits: SchedulerLimits) -> None:
        self.is_vidur = engine.has_vidur_faults
        self.limits = limits
        self.block_size = limits.block_size
        self.total_blocks = limits.kv_blocks
        self.holder_limit = limits.max_num_seqs
        self.batch_limit = max(1, limits.max_num_seqs // limits.pipeline_parallel)
        self._order = queue_order_of(engine, self.cached_tokens)
        self.queue = queue_in(self._order)
        self.waiting = self.queue.present
        """Who waits, in no order."""
        self.running: list[Sequence] = []
        """Sequences between two batches."""
        self.blocks_of: dict[int, int] = {}
        """Blocks held, by the sequence's key."""
        self.free_blocks = limits.kv_blocks
        self.prefilling: dict[int, Sequence] = {}
        """Started sequences whose known tokens are not computed yet."""
        self.in_flight: dict[int, Sequence] = {}
        """Sequences in unfinished batches, except in the one that is being filled."""
        self._batches = 0
        self._preempted: list[Sequence] = []
        self._has_news = False
        """A request has come since the last batch was scheduled, which a queue order must take in."""
        self._admissions = 0
        self._pool = ReservedPool() if self.reserves_whole else DecodePool(limits.block_size)

    @abstractmethod
    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Fill an empty batch with ``decode`` and ``prefill``, or leave it empty."""

    # ------------------------------------------------------------------------------------------------------- readings

    @property
    def running_count(self) -> int:
        """Return how many sequences hold memory."""
        return len(self.blocks_of)

    @property
    def waiting_count(self) -> int:
        """Return how many sequences wait for memory."""
        return len(self.waiting)

    @property
    def kv_used_blocks(self) -> int:
        """Return the blocks that are held."""
        return self.total_blocks - self.free_blocks

    def validate(self) -> None:
        """Assert also that blocks are held by those who hold them, and that nobody waits and holds some."""
        super().validate()
        assert 0 <= self.free_blocks <= self.total_blocks, "free blocks are some of all"
        assert sum(self.blocks_of.values()) <= self.total_blocks, "no more blocks are held than there are"

    def waiting_ids(self) -> Iterable[int]:
        """Return the waiting requests in queue order."""
        return [sequence.request_id for sequence in self.queue]

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        lefts = [sequence.output_tokens - sequence.generated for sequence in self.running]
        lefts += [sequence.output_tokens - sequence.generated for sequence in self.in_flight.values()]
        if self._pool.members:
            lefts.append(self._pool.steps_to_finish())
        if self.waiting:
            lefts.append(self.queue.fewest_left())
        return min((left for left in lefts if left), default=0)

    # ------------------------------------------------------------------------------------------------------ life cycle

    def add(self, sequence: Sequence) -> None:
        """Put a sequence into the waiting queue."""
        self.queue.enter(sequence)
        self._has_news = self._order is not None

    def cached_tokens(self, sequence: Sequence) -> int:
        """Return the tokens of a waiting sequence that are in the cache."""
        return 0

    def has_work(self) -> bool:
        """Whether a sequence waits or stands between two batches."""
        return bool(self.waiting or self.running or self._pool.members)

    def use_predictor(self, predictor: Predictor) -> None:
        """Give the predictor to the queue order."""
        if self._order is not None:
            self._order.use_predictor(predictor)

    @property
    def is_reordered(self) -> bool:
        """Whether another request may be at the queue's head for the next batch although nothing has happened."""
        return self._order is not None and not (self.queue.is_sorted and self._order.is_static)

    def chunk_for(self, batch: Batch, sequence: Sequence, budget: int) -> int:
        """Return the next chunk of a prompt: what is left of it, within the budget and what the queue order allows."""
        chunk = min(sequence.known_tokens - sequence.computed, budget)
        if chunk > 0 and self._order is not None and self._order.sizes_chunks:
            chunk = self._order.fit_chunk(sequence, sequence.computed, chunk, batch.shape)
        return chunk

    def has_candidate(self, batch: Batch, budget: int = UNLIMITED) -> bool:
        """Whether the queue order lets some waiting sequence join the batch: the queue's head then.

        Of its prompt at most ``budget`` tokens would be computed.  Those before it that may not join are deferred until
        the batch is complete.
        """
        order = self._order
        if order is not None and order.sizes_chunks:
            queue = self.queue
            while self.waiting and not order.may_join(batch.shape, min(queue.head.known_tokens, budget)):
                queue.defer()
        return bool(self.waiting)

    def schedule(self, now_ns: int) -> Batch | None:
        """Have ``fill_batch`` fill a batch."""
        self.retry_now = self._has_news = False
        if not self.leaves_decodes or self._order is not None:
            self.dissolve_pool()
        batch = Batch(BatchShape())
        batch.number = self._batches
        if self._order is not None and self.waiting:
            self.queue.sort([*self.running, *self.in_flight.values()], now_ns)
        self.fill_batch(batch, now_ns)
        if self._order is not None:
            self.queue.restore()
            self.queue.on_admitted()
        if not batch.shape.decodes and not batch.prefilled:
            self.unbatched_preemptions = len(batch.preempted)
            self.retry_now = bool(batch.preempted) and not self.is_vidur
            return None
        self._batches += 1
        self.mark_in_flight(batch)
        return batch

    def mark_in_flight(self, batch: Batch) -> None:
        """Count a batch's sequences as in flight: decodes, then prompts."""
        in_flight = self.in_flight
        for sequence in batch.members:
            in_flight[sequence.key] = sequence
        for sequence, _ in batch.prefilled:
            in_flight[sequence.key] = sequence

    def on_scheduled(self, batch: Batch) -> None:
        """Store when the tokens of a batch come."""
        end_ns = batch.end_ns
        set_last_tokens(batch.completed, batch.members, end_ns)
        if batch.shape.decodes and not batch.members:
            self._pool.last_tokens.time_ns = end_ns

    def complete(self, batch: Batch) -> None:
        """Take the batch's sequences back in batch order."""
        for sequence in batch.members:
            self._return(sequence)
        for sequence, _ in batch.prefilled:
            self._return(sequence)
        if not batch.members and not batch.prefilled:  # The pool's, or the end of uniform steps.
            for sequence in sorted(batch.finishing, key=lambda sequence: sequence.order):
                self.forget(sequence)
                self.free(sequence)

    def _return(self, sequence: Sequence) -> None:
        """Take a sequence back from its batch: into the running list, or out of the replica when it is done."""
        self.leave_batch(sequence)
        if sequence.generated >= sequence.output_tokens:
            if sequence.leg:
                self.hold(sequence)
            else:
                self.free(sequence)
        else:
            self.running.append(sequence)

    def hold(self, sequence: Sequence) -> None:
        """Keep the blocks of a prompt that was computed for another replica, if the engine can."""
        raise NotImplementedError

    def leave_batch(self, sequence: Sequence) -> None:
        """Count a sequence as in flight no more."""
        del self.in_flight[sequence.key]
        if sequence.generated >= sequence.output_tokens:
            self.forget(sequence)

    def forget(self, sequence: Sequence) -> None:
        """Tell the queue order that a sequence has left for good; one that never ran is unknown to it."""
        if self._order is not None and sequence.scheduled_ns >= 0:
            self._order.on_end(sequence)

    def remove_waiting(self, key: int) -> bool:
        """Drop a sequence of the waiting queue."""
        sequence = self.queue.remove(key)
        if sequence is None:
            return False
        self._has_news = self._order is not None
        self.forget(sequence)
        return True

    def cancel(self, key: int) -> bool:
        """Drop a sequence that waits or stands between two batches."""
        if self.remove_waiting(key):
            return True
        self.dissolve_pool()
        self._has_news = self._order is not None
        for index, sequence in enumerate(self.running):
            if sequence.key == key:
                del self.running[index]
                self.prefilling.pop(key, None)
                self.forget(sequence)
                self.free(sequence)
                return True
        return False

    def is_in_flight(self, key: int) -> bool:
        """Whether a batch holds a sequence and does not yield its last token."""
        sequence = self.in_flight.get(key)
        return sequence is not None and sequence.generated < sequence.output_tokens

    def write_back(self) -> None:
        """Bring the counters of all sequences up to date."""
        self.dissolve_pool()

    # ------------------------------------------------------------------------------------------------ fast-forwarding

    def is_uniform(self, decodes: int) -> bool:
        """Whether the next batches are one decode of each of the ``decodes`` ready sequences, until one of them yields
        its last token or a request arrives, as long as memory lasts.
        """
        return decodes < 0

    def uniform_limit(self, pool: DecodePool) -> int:
        """Return how many uniform steps memory allows: these engines want a spare block for every decode."""
        return pool.steps_within(self.free_blocks - 1, pool.steps_to_finish())

    def ready_decodes(self) -> list[Sequence]:
        """Return the sequences that the next decode batch would hold."""
        return self.running

    def put_back(self, sequences: list[Sequence]) -> None:
        """Take the sequences of ``ready_decodes`` back, in the same order, before those that have come since."""
        self.running = [*sequences, *self.running]

    def uniform_pools(self) -> list[DecodePool]:
        """Return the pool of uniform decodes."""
        return [self._pool]

    def uniform_steps(self) -> int:
        """Return how many uniform steps would now be scheduled; see ``is_uniform``."""
        if not self.limits.can_fast_forward or self.in_flight or self._has_news:
            return 0
        pool = self._pool
        if pool.members and not self.running:
            return self.uniform_limit(pool) if self.is_uniform(len(pool.members)) else 0
        ready = self.ready_decodes()
        if not ready or not self.is_uniform(len(pool.members) + len(ready)):
            return 0
        if self.prefilling and not all(map(self.is_decoding, ready)):
            return 0
        is_new = not pool.members
        for sequence in ready:
            pool.add(sequence)
        if is_new:
            pool.last_tokens.gather(ready)
        self.running = []
        return self.uniform_limit(pool)

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        """Make uniform steps; see ``FastForwardScheduler``."""
        finishing = self._advance_pool(steps)
        self._pool.last_tokens.time_ns = end_ns
        self._batches += steps
        return finishing

    def decode_pool(self, batch: Batch) -> None:
        """Fill a batch with one uniform step: that of every member of the pool."""
        pool, shape = self._pool, batch.shape
        shape.decodes, shape.decode_kv_tokens = len(pool.members), pool.kv_tokens
        pool.last_tokens.fill(batch.gaps, shape.decodes)
        batch.finishing = self._advance_pool(1)

    def _advance_pool(self, steps: int) -> list[Sequence]:
        """Make steps of the pool, with their blocks; return what finishes."""
        pool = self._pool
        self.take_uniform(pool.blocks_for(steps), steps)
        finishing = pool.advance(steps)
        for sequence in finishing:
            self._recount_blocks(sequence)
        return finishing

    def take_uniform(self, blocks: int, steps: int) -> None:
        """Take the blocks of ``steps`` uniform steps."""
        self.free_blocks -= blocks
        assert self.free_blocks >= 0

    def dissolve_pool(self) -> None:
        """Undo what ``uniform_steps`` has gathered."""
        pool = self._pool
        if pool.members:
            sequences = list(pool.members.values())
            pool.dissolve()
            for sequence in sequences:
                self._recount_blocks(sequence)
            self.put_back(sequences)

    def _recount_blocks(self, sequence: Sequence) -> None:
        """Count the blocks that a sequence has taken as a member of the pool."""
        if not self.reserves_whole:
            self.blocks_of[sequence.key] = self.blocks_for(sequence.computed)

    # ---------------------------------------------------------------------------------------------------------- memory

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold ``tokens`` tokens."""
        return -(-tokens // self.block_size)

    def allocate(self, sequence: Sequence, blocks: int) -> None:
        """Give a sequence more blocks; they must be free."""
        self.free_blocks -= blocks
        assert self.free_blocks >= 0
        self.blocks_of[sequence.key] = self.blocks_of.get(sequence.key, 0) + blocks

    def free(self, sequence: Sequence) -> None:
        """Take back all blocks of a sequence."""
        self.free_blocks += self.blocks_of.pop(sequence.key)

    # ------------------------------------------------------------------------------------------------------- scheduling

    def admit(self, sequence: Sequence, now_ns: int) -> None:
        """Take the waiting queue's head out, about to be computed."""
        head = self.queue.leave()
        assert head is sequence
        if sequence.scheduled_ns < 0:
            sequence.scheduled_ns = now_ns
        sequence.order = self._admissions
        self._admissions += 1

    def is_decoding(self, sequence: Sequence) -> bool:
        """Whether a started sequence needs one token computed to yield its next."""
        return sequence.key not in self.prefilling

    def preempt(self, batch: Batch, sequence: Sequence) -> None:
        """Evict a running sequence: it loses its memory and goes to the front of the waiting queue, to recompute."""
        self.free(sequence)
        if self.is_vidur and not self.is_decoding(sequence):
            # Vidur takes what is computed for the whole prompt and has the rest of it "generated" token by token.
            total = sequence.prompt_tokens + sequence.output_tokens
            sequence.prompt_tokens, sequence.output_tokens = sequence.computed, total - sequence.computed
            sequence.generated = 0
        self.prefilling.pop(sequence.key, None)
        sequence.computed = 0
        sequence.preemptions += 1
        batch.preempted.append(sequence)
        self.queue.put_back(sequence)

    def make_room(self, batch: Batch, sequence: Sequence) -> bool:
        """Evict from the running list's tail until a block is free; return False if ``sequence`` itself had to go."""
        while self.free_blocks < 1:
            if not self.running:
                self.preempt(batch, sequence)
                return False
            self.preempt(batch, self.running.pop())
        return True

    def grow(self, sequence: Sequence) -> None:
        """Give a decoding sequence a block if its next token needs one."""
        if sequence.computed + 1 > self.blocks_of[sequence.key] * self.block_size:
            self.allocate(sequence, 1)
