"""Data parallelism inside a replica: several schedulers that form one joint batch.

Design: every rank has a scheduler, a KV cache and requests of its own, and the ranks of a mixture-of-experts model
step together, since their tokens meet in every layer with experts. A request goes to the rank that its dispatch
names, or to the one that has fewest, and stays there. A joint batch is the rank's batches side by side: its shape
lists theirs, which is what the predictor prices, and its other figures are their sums, which is what the replica
records. A rank may have none.

``engine.prefill_schedule_interval`` N leaves prompts, begun or not, to every N-th joint batch since the ranks were last
idle, so that steps that are long because of a prompt somewhere are few.  A rank that decodes nothing does not wait, nor
one whose last such step left requests waiting.
"""

from collections.abc import Iterable, Sequence

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.handover.legs import Leg
from cluster_sim.serving.kv_cache.prefix_changes import PrefixReporter
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.serving.sequence import Sequence as Served


class JointBatch(Batch):
    """The batches of ranks that run in one step, by the rank's number."""

    def __init__(self, parts: Sequence[tuple[int, Batch]]) -> None:
        shapes = [part.shape for _, part in parts]
        super().__init__(
            BatchShape(
                decodes=sum(shape.decodes for shape in shapes),
                decode_kv_tokens=sum(shape.decode_kv_tokens for shape in shapes),
                prefills=[prefill for shape in shapes for prefill in shape.prefills],
                completed_prefills=sum(shape.completed_prefills for shape in shapes),
                draft_tokens=sum(shape.draft_tokens for shape in shapes),
                encoder_tokens=sum(shape.encoder_tokens for shape in shapes),
                ranks=tuple(shapes),
            )
        )
        self.parts = tuple(parts)
        for _, part in parts:
            self.completed += part.completed
            self.finishing += part.finishing
            self.prefilled += part.prefilled
            self.preempted += part.preempted
            self.members += part.members
            self.gaps.merge(part.gaps)
        self.delay_ns = max(part.delay_ns for _, part in parts)
        self.accepted_tokens = sum(part.accepted_tokens for _, part in parts)
        self.verified = tuple(accepted for _, part in parts for accepted in part.verified)


class DataParallel(Scheduler, FastForwardScheduler):
    """Ranks with a scheduler each, stepping together."""

    def __init__(self, engine: EngineOptions, limits: SchedulerLimits) -> None:
        build_rank = ENGINES.get(engine.kind).part
        self._ranks = [build_rank(engine, limits) for _ in range(limits.data_parallel)]
        self._fast_ranks = [rank for rank in self._ranks if isinstance(rank, FastForwardScheduler)]
        """All ranks, or none if they cannot be fast-forwarded."""
        self._rank_of: dict[int, Scheduler] = {}
        """The ranks of the requests that are here."""
        self._decoding: list[FastForwardScheduler] = []
        """The ranks that take part in the uniform steps to come."""
        self._interval = engine.prefill_interval
        self._steps = 0
        self.has_prefix_cache = self._ranks[0].has_prefix_cache
        self.hands_over = self._ranks[0].hands_over

    # ------------------------------------------------------------------------------------------------------- readings

    @property
    def running_count(self) -> int:
        return sum(rank.running_count for rank in self._ranks)

    @property
    def waiting_count(self) -> int:
        return sum(rank.waiting_count for rank in self._ranks)

    @property
    def reservations(self) -> int:
        return sum(rank.reservations for rank in self._ranks)

    @property
    def kv_used_blocks(self) -> int:
        return sum(rank.kv_used_blocks for rank in self._ranks)

    def rank_states(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((rank.running_count, rank.waiting_count, rank.kv_used_blocks) for rank in self._ranks)

    def waiting_ids(self) -> Iterable[int]:
        return [request_id for rank in self._ranks for request_id in rank.waiting_ids()]

    def reporting_caches(self) -> list[PrefixReporter]:
        return [cache for rank in self._ranks for cache in rank.reporting_caches()]

    def adapters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        states = [rank.adapters() for rank in self._ranks]
        active = {adapter for state, _ in states for adapter in state}
        waiting = {adapter for _, state in states for adapter in state}
        return tuple(sorted(active)), tuple(sorted(waiting - active))

    def validate(self) -> None:
        for rank in self._ranks:
            rank.validate()
        assert len(self._rank_of) >= self.running_count, "every running request is of one rank"

    def has_work(self) -> bool:
        return any(rank.has_work() for rank in self._ranks)

    def fewest_batches(self) -> int:
        return min(filter(None, (rank.fewest_batches() for rank in self._ranks)), default=0)

    # --------------------------------------------------------------------------------------------------------- events

    def use_predictor(self, predictor: Predictor) -> None:
        for rank in self._ranks:
            rank.use_predictor(predictor)

    def add(self, sequence: Served) -> None:
        self._place(sequence, sequence.rank).add(sequence)

    def reserve(self, sequence: Served) -> None:
        self._place(sequence, -1).reserve(sequence)

    def _place(self, sequence: Served, number: int) -> Scheduler:
        """Return the rank of a sequence that comes: that with a number, or below 0 the one that has fewest."""
        if number < 0:
            number = min(enumerate(self._ranks), key=lambda rank: rank[1].running_count + rank[1].waiting_count)[0]
        sequence.rank = number
        rank = self._rank_of[sequence.key] = self._ranks[number]
        return rank

    def arrive(self, key: int, computed_tokens: int, generated_tokens: int, now_ns: int) -> bool:
        rank = self._rank_of.get(key)
        return rank is not None and rank.arrive(key, computed_tokens, generated_tokens, now_ns)

    def release(self, key: int) -> bool:
        rank = self._rank_of.get(key)
        if rank is None or not rank.release(key):
            return False
        del self._rank_of[key]
        return True

    def remove_waiting(self, key: int) -> bool:
        rank = self._rank_of.get(key)
        if rank is None or not rank.remove_waiting(key):
            return False
        del self._rank_of[key]
        return True

    def is_in_flight(self, key: int) -> bool:
        rank = self._rank_of.get(key)
        return rank is not None and rank.is_in_flight(key)

    def cancel(self, key: int) -> bool:
        rank = self._rank_of.get(key)
        if rank is None or not rank.cancel(key):
            return False
        del self._rank_of[key]
        return True

    def write_back(self) -> None:
        for rank in self._ranks:
            rank.write_back()

    def schedule(self, now_ns: int) -> Batch | None:
        if not self.running_count:
            self._steps = 0
        is_prefill_step = self._steps % self._interval == 0
        parts: list[tuple[int, Batch]] = []
        self.retry_now = False
        self.unbatched_preemptions = 0
        self.unbatched_ranks = ()
        for number, rank in enumerate(self._ranks):
            rank.is_prefill_step = is_prefill_step
            part = rank.schedule(now_ns)
            if rank.granted:
                self.granted, rank.granted = (*self.granted, *rank.granted), ()
            if rank.begun:
                self.begun, rank.begun = (*self.begun, *rank.begun), ()
            if part is not None:
                parts.append((number, part))
            else:
                if rank.unbatched_preemptions:
                    self.unbatched_preemptions += rank.unbatched_preemptions
                    self.unbatched_ranks = (*self.unbatched_ranks, (number, rank.unbatched_preemptions))
                self.retry_now = self.retry_now or rank.retry_now
        if not parts:
            return None
        self._steps += 1
        batch = JointBatch(parts)
        batch.unbatched_preemptions, self.unbatched_preemptions = self.unbatched_preemptions, 0
        batch.unbatched_ranks, self.unbatched_ranks = self.unbatched_ranks, ()
        return batch

    def on_scheduled(self, batch: Batch) -> None:
        assert isinstance(batch, JointBatch)
        for number, part in batch.parts:
            part.scheduled_ns, part.start_ns, part.end_ns = batch.scheduled_ns, batch.start_ns, batch.end_ns
            self._ranks[number].on_scheduled(part)

    def complete(self, batch: Batch) -> None:
        if isinstance(batch, JointBatch):
            for number, part in batch.parts:
                self._ranks[number].complete(part)
        else:
            self._complete_uniform(batch.finishing)
        for sequence in batch.finishing:
            if sequence.leg != Leg.PREFILL:  # A prompt for another replica stays with its rank.
                del self._rank_of[sequence.key]

    # ------------------------------------------------------------------------------------------------ fast-forwarding

    def uniform_steps(self) -> int:
        """Return the fewest uniform steps of any rank; 0 while one has work of another kind."""
        decoding: list[FastForwardScheduler] = []
        numbers: list[int] = []
        fewest = 0
        for number, (rank, fast_rank) in enumerate(zip(self._ranks, self._fast_ranks, strict=False)):
            steps = fast_rank.uniform_steps()
            if steps:
                decoding.append(fast_rank)
                numbers.append(number)
                fewest = min(fewest, steps) if fewest else steps
            elif rank.has_work():
                return 0
        self._decoding, self.decoding_ranks = decoding, numbers
        return fewest

    def uniform_pools(self) -> list[DecodePool]:
        return [pool for rank in self._decoding for pool in rank.uniform_pools()]

    def commit_uniform(self, steps: int, end_ns: int) -> list[Served]:
        self._steps += steps
        return [finished for rank in self._decoding for finished in rank.commit_uniform(steps, end_ns)]

    def _complete_uniform(self, finishing: list[Served]) -> None:
        """Complete the last of some uniform steps: every rank gives up the sequences that it has finished."""
        for rank in self._ranks:
            part = Batch(BatchShape())
            part.finishing = [sequence for sequence in finishing if self._rank_of[sequence.key] is rank]
            if part.finishing:
                rank.complete(part)


def build_scheduler(engine: EngineOptions, limits: SchedulerLimits) -> Scheduler:
    """Build the scheduler of a replica: that of the engine's kind, or one for each of its ranks."""
    part = ENGINES.get(engine.kind).part if limits.data_parallel == 1 else DataParallel
    return part(engine, limits)
