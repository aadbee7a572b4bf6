"""llm-infer's batch server: a batch is chosen when the server is free, and runs to its end as a whole.

The server waits until ``max_num_seqs`` requests are there, or the oldest has waited ``batch_timeout_s``, or no more
will come; the policy chooses among all that wait, and every request of the batch is answered when the longest of them
is done: the last token of each comes then, the others as they are computed.  There is no memory limit and no
preemption.

With ``adaptive_batch_size`` the number follows the load: from 1 on, once a batch has ended and requests wait it moves
half of the way (rounded up) to how many do, up to ``max_num_seqs``.
"""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.last_tokens import set_last_tokens
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_S


class StaticTwoPhaseOptions(EngineOptions):
    """One batch of max_num_seqs, waited for up to batch_timeout_s or the last arrival."""

    switches = frozenset({"batch_timeout_s", "adaptive_batch_size"})

    kind: Literal["static_two_phase"] = "static_two_phase"
    batch_timeout_s: float | None = Field(
        None,
        ge=0,
        le=LONGEST_RUN_S,
        description="Longest wait for a batch of max_num_seqs to fill up; null: until it is full, or no more requests "
        "come in a run without end_s.",
    )
    adaptive_batch_size: bool = Field(
        False,
        description="Whether the size of a batch follows the load: from 1 on, after every batch half of the way to the "
        "number of requests that wait, up to max_num_seqs.",
    )

    @property
    def fills_batches(self) -> bool:
        """Whether an incomplete batch waits without a time-out."""
        return self.batch_timeout_s is None

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return llm-infer's batch."""
        return replace(default_settings(device), max_num_seqs=32)


@ENGINES.register("static_two_phase", StaticTwoPhaseOptions)
class StaticTwoPhase(SerialScheduler):
    """One static batch at a time: a step for all prompts, then as many decode steps as the longest output takes."""

    runs_in_stages = False
    has_static_batches = True
    reserves_whole = True
    waits_for_full_batch = True

    def __init__(self, engine: StaticTwoPhaseOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        timeout_s = engine.batch_timeout_s
        self._timeout_ns = -1 if timeout_s is None else round(timeout_s * NS_PER_S)
        self._group: list[Sequence] = []
        """The static batch that runs."""
        self._steps_left = 0
        self._held: list[Sequence] = []
        """Requests of the running batch whose last token is computed and waits for the batch's end."""
        self._dropped: dict[int, None] = {}
        """Requests of the running batch whose clients gave up."""
        self._wake_ns = -1
        self._is_adaptive = engine.adaptive_batch_size
        self._size = 1 if engine.adaptive_batch_size else limits.max_num_seqs
        """Requests that a batch waits for, and the most it takes."""
        self._has_ended = False
        """Whether a batch has ended since the queue was last read with something in it."""
        self._is_draining = False

    @property
    def next_wakeup_ns(self) -> int:
        """Return when the oldest waiting request has waited long enough; -1 for never."""
        return self._wake_ns

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Start a batch, or decode the running one."""
        if self._group:
            self._decode(batch)
        else:
            self._start(batch, now_ns)
            if not self._group:
                return
        self._steps_left -= 1
        is_last = self._steps_left == 0
        batch.finishing = [sequence for sequence in self._group if is_last and sequence.key not in self._dropped]

    def _decode(self, batch: Batch) -> None:
        """Compute a token of every request that misses some; the gap to a last token ends with the batch."""
        is_last = self._steps_left == 1
        for sequence in self._group:
            if sequence.generated < sequence.output_tokens:
                batch.decode(sequence, 1)
                if sequence.generated == sequence.output_tokens and not is_last:
                    batch.gaps.others_ns.pop()
                    self._held.append(sequence)
        if is_last:
            for sequence in self._held:
                batch.gaps.add(sequence)

    def on_scheduled(self, batch: Batch) -> None:
        """Store when the tokens of a batch come: those that are held come later."""
        decodes = [sequence for sequence in batch.members if not self._held or sequence not in self._held]
        set_last_tokens(batch.completed, decodes, batch.end_ns)

    def _start(self, batch: Batch, now_ns: int) -> None:
        self._wake_ns = -1
        if not self.waiting:
            return
        if self._has_ended and self._is_adaptive:
            self._adapt()
        if len(self.waiting) < self._size and not self._is_draining:
            if self._timeout_ns < 0:
                return
            due_ns = min(sequence.ready_ns for sequence in self.queue) + self._timeout_ns
            if due_ns > now_ns:
                self._wake_ns = due_ns
                return
        while len(self._group) < self._size and self.has_candidate(batch):
            sequence = self.queue.head
            self.admit(sequence, now_ns)
            self.allocate(sequence, 0)
            batch.prefill(sequence, sequence.known_tokens, self.prefilling)
            self._group.append(sequence)
        self._has_ended = False
        self._steps_left = max(sequence.output_tokens for sequence in self._group)

    def _adapt(self) -> None:
        self._has_ended = False
        way = len(self.waiting) - self._size
        half = -(-abs(way) // 2)
        self._size = min(self._size + (half if way > 0 else -half), self.limits.max_num_seqs)

    def complete(self, batch: Batch) -> None:
        """Keep the batch together until its last step has ended."""
        for sequence in (*batch.members, *(sequence for sequence, _ in batch.prefilled)):
            self.leave_batch(sequence)
        if self._steps_left == 0:
            self._close()

    def _close(self) -> None:
        for sequence in self._group:
            self.free(sequence)
        self._group = []
        self._held = []
        self._dropped = {}
        self._has_ended = True

    def drain(self) -> None:
        """Start what waits without waiting for more."""
        self._is_draining = True

    def is_uniform(self, decodes: int) -> bool:
        """Whether a batch runs that somebody waits for: it goes on by itself."""
        return decodes > 0 and len(self._group) > len(self._dropped)

    def ready_decodes(self) -> list[Sequence]:
        """Return those of the running batch that have not all their tokens."""
        return [sequence for sequence in self._group if sequence.generated < sequence.output_tokens]

    def put_back(self, sequences: list[Sequence]) -> None:
        """Do nothing: the batch has kept them."""

    def uniform_limit(self, pool: DecodePool) -> int:
        """Return the steps up to the first last token that is held, or to the batch's end."""
        steps = pool.steps_to_finish()
        return steps if steps == self._steps_left and not self._held else steps - 1

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        """Make steps of the running batch; all its requests are answered in its last one."""
        for sequence in super().commit_uniform(steps, end_ns):
            self.forget(sequence)
        self._steps_left -= steps
        if self._steps_left:
            return []
        return [sequence for sequence in self._group if sequence.key not in self._dropped]

    def has_work(self) -> bool:
        """Whether a batch runs or may be started."""
        return bool(self._group or self.waiting)

    def fewest_batches(self) -> int:
        """Return the steps that the running batch still needs, or that the shortest waiting request does."""
        return self._steps_left or super().fewest_batches()

    def cancel(self, key: int) -> bool:
        """Drop a waiting request; a batched one is computed to the end like the others, but not answered."""
        if any(sequence.key == key for sequence in self._group):
            self.dissolve_pool()
            is_early = self._steps_left > 0 and key not in self._dropped
            self._dropped[key] = None
            return is_early
        return super().cancel(key)
