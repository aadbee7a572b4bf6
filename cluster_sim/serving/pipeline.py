"""Pipeline stages as deterministic servers of one ordered stream.

A stage starts a batch at max(arrival, free) and ends it one step later; the batch then travels to the next stage.  Step
times are pure functions of the batch, so a replica runs the whole recurrence when it schedules a batch and never waits.
Stage actors, where they exist, receive the same stream one way and check that they come to the same times.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.jitter import Jitter
from cluster_sim.hardware.predictors.coverage import Coverage, CoverageCounter, coverage_of
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.latest_batches import LATEST_BATCHES, LatestBatches
from cluster_sim.serving.lives.life_clock import LifeClock

_LATEST_GAPS: Final = 1024
"""Idle times of a single stage that are kept, for the same purpose."""


class Decodes(Protocol):
    """Sequences that decode together, such as a decode pool."""

    def __len__(self) -> int:
        """Return how many sequences they are."""

    @property
    def kv_tokens(self) -> int:
        """Tokens that they have in the cache."""


class Pipeline:
    """The stages of one replica."""

    def __init__(
        self, predictor: Predictor, is_streamed: bool = False, jitters: tuple[Jitter, ...] = (), in_flight: int = 1
    ) -> None:
        """``jitters`` holds the noise of each stage, or nothing; ``in_flight`` batches may be unfinished."""
        self._predictor = predictor
        self._covered = CoverageCounter.if_needed(predictor)
        self._jitters = jitters
        self.iterations = 0
        """Batches sent through so far: what noise is keyed by."""
        self._stages = predictor.stages
        self.free_ns = [0] * self._stages
        """When each stage has finished all it was given."""
        self.busy_ns = [0] * self._stages
        self._stream: array[int] | None = array("q") if is_streamed else None
        self._latest = LatestBatches(in_flight + LATEST_BATCHES)
        """With several stages, the batches that may outlast the run."""
        self._idle: deque[tuple[int, int]] = deque([(0, 0)], maxlen=_LATEST_GAPS)
        """Of a single stage, when it last had work again, and the work it had done by then."""
        self.clock: LifeClock | None = None
        """What steps last under faults; None for a replica without any."""

    @property
    def stages(self) -> int:
        """Number of stages."""
        return self._stages

    def run(self, shape: BatchShape, scheduled_ns: int) -> tuple[int, int]:
        """Send a batch through every stage, from ``scheduled_ns`` on; return (start of the first, end of the last)."""
        predictor = self._predictor
        if self._covered is not None:
            self._covered.add_step(shape)
        clock = self.clock
        if self._stages == 1 and self._stream is None and clock is None:
            start = self.free_ns[0]
            if scheduled_ns > start:
                start = scheduled_ns
                self._idle.append((start, self.busy_ns[0]))
            step = predictor.step_ns(shape)
            if self._jitters:
                step = self._jitters[0].apply_one(step, self.iterations)
            self.iterations += 1
            self.busy_ns[0] += step
            end = self.free_ns[0] = start + step
            return start, end
        arrival = scheduled_ns
        first_start = -1
        record = [scheduled_ns]
        ends_ns: list[int] = []
        steps_ns: list[int] = []
        for stage in range(self._stages):
            start = max(arrival, self.free_ns[stage])
            if self._stages == 1 and start > self.free_ns[0]:
                self._idle.append((start, self.busy_ns[0]))
            if first_start < 0:
                first_start = start
            step = predictor.step_ns(shape, stage)
            if self._jitters:
                step = self._jitters[stage].apply_one(step, self.iterations)
            if clock is not None:
                step = clock.duration_ns(start, step)
            end = start + step
            self.busy_ns[stage] += step
            self.free_ns[stage] = end
            ends_ns.append(end)
            steps_ns.append(step)
            link = predictor.stage_link_ns(shape.tokens, stage) if stage + 1 < self._stages else 0
            arrival = end + link
            record += (step, link)
        self.iterations += 1
        if clock is not None and end > clock.crash_ns:
            self._cut(clock.crash_ns, ends_ns, steps_ns, record)
        if self._stages > 1:
            self._latest.add([ends_ns], [steps_ns])
        if self._stream is not None:
            self._stream.extend((*record, ends_ns[-1]))
        return first_start, end

    def _cut(self, crash_ns: int, ends_ns: list[int], steps_ns: list[int], record: list[int]) -> None:
        """Take back the work of a batch that a crash cuts off: what its stages would do after ``crash_ns``.

        The figures by stage, and those for the stream, become those of a batch that ends with the crash.
        """
        record[0] = min(record[0], crash_ns)
        for stage, (end_ns, step_ns) in enumerate(zip(ends_ns, steps_ns, strict=True)):
            ends_ns[stage] = min(end_ns, crash_ns)
            steps_ns[stage] = ends_ns[stage] - min(end_ns - step_ns, crash_ns)
            self.busy_ns[stage] -= step_ns - steps_ns[stage]
            arrival_ns = min(end_ns + record[2 + 2 * stage], crash_ns)
            record[1 + 2 * stage : 3 + 2 * stage] = steps_ns[stage], arrival_ns - ends_ns[stage]

    def restart(self, crash_ns: int) -> None:
        """Empty every stage at a crash."""
        self.free_ns = [crash_ns] * self._stages

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int) -> Int64Array:
        """Return the durations of the only stage's next ``steps`` batches, decode-only ones, noise included."""
        durations = self._predictor.decode_run_ns(decodes, kv_tokens, steps)
        return self._jitters[0].apply(durations, self.iterations) if self._jitters else durations

    def joint_run_ns(self, pools: Sequence[Decodes], steps: int) -> Int64Array | None:
        """Return the durations of the only stage's next ``steps`` batches if the ranks of ``pools`` decode together,
        noise included; None if they must be asked for one by one.
        """
        durations = self._predictor.joint_run_ns([(len(pool), pool.kv_tokens) for pool in pools], steps)
        if durations is None or not self._jitters:
            return durations
        return self._jitters[0].apply(durations, self.iterations)

    def occupy(self, busy_ns: int, end_ns: int, steps: int, decodes: int, kv_tokens: int) -> None:
        """Record ``steps`` batches of the only stage: ``busy_ns`` of work, the last ending at ``end_ns``; each computes
        a token for ``decodes`` sequences, which have ``kv_tokens`` before the first.
        """
        if self._covered is not None:
            self._covered.add_run(decodes, kv_tokens, steps)
        if end_ns - busy_ns > self.free_ns[0]:
            self._idle.append((end_ns - busy_ns, self.busy_ns[0]))
        self.busy_ns[0] += busy_ns
        self.free_ns[0] = end_ns
        self.iterations += steps

    def pipelined_costs_ns(self, pools: Sequence[Decodes], steps: int) -> Int64Array:
        """Return the costs of the next ``steps`` batches if pools take turns: int64[steps, 2 * stages], for each stage
        its step, noise included, and the way to the next.
        """
        predictor = self._predictor
        turns = -(-steps // len(pools))
        costs = np.zeros((turns, len(pools), 2 * self._stages), np.int64)
        for stage in range(self._stages):
            for index, pool in enumerate(pools):
                costs[:, index, 2 * stage] = predictor.decode_run_ns(len(pool), pool.kv_tokens, turns, stage)
                if stage + 1 < self._stages:
                    costs[:, index, 2 * stage + 1] = predictor.stage_link_ns(len(pool), stage)
        rows: Int64Array = costs.reshape(turns * len(pools), 2 * self._stages)[:steps]
        for stage, jitter in enumerate(self._jitters):
            rows[:, 2 * stage] = jitter.apply(rows[:, 2 * stage], self.iterations)
        return rows

    def occupy_all(
        self, free_ns: list[int], busy_ns: list[int], steps: int, latest: tuple[Int64Array, Int64Array] | None = None
    ) -> None:
        """Record ``steps`` batches sent through every stage: when each is free then, and its work in ns; with
        several stages ``latest`` has the ends and the work by stage of those that may be unfinished.
        """
        if latest is not None:
            self._latest.add(*latest)
        elif free_ns[0] - busy_ns[0] > self.free_ns[0]:
            self._idle.append((free_ns[0] - busy_ns[0], self.busy_ns[0]))
        self.free_ns = list(free_ns)
        self.busy_ns = [done + more for done, more in zip(self.busy_ns, busy_ns, strict=True)]
        self.iterations += steps

    def overrun_ns(self, end_ns: int) -> list[int]:
        """Return the work of each stage beyond ``end_ns``, the end of the run."""
        if self._stages > 1:
            return self._latest.overrun_ns(end_ns, self._stages)
        done_later_ns = self.busy_ns[0]
        for start_ns, done_ns in reversed(self._idle):
            if start_ns < end_ns:
                return [self.busy_ns[0] - min(done_ns + end_ns - start_ns, done_later_ns)]
            done_later_ns = done_ns
        return [self.busy_ns[0] - done_later_ns]

    def cover(self, decodes: int, kv_tokens: int, steps: int) -> None:
        """Count the predictions of ``steps`` batches of ``decodes`` decodes, on every stage."""
        if self._covered is not None:
            self._covered.add_run(decodes, kv_tokens, steps)

    @property
    def coverage(self) -> Coverage:
        """Where the predictions of all batches so far lie."""
        return self._covered.total if self._covered is not None else coverage_of(self._predictor, self.iterations)

    @property
    def is_streamed(self) -> bool:
        """Whether batches are kept for ``take_stream``."""
        return self._stream is not None

    def keep_stream(self, stream: "array[int] | None") -> None:
        """Keep batches from now on, behind those of ``stream``; None keeps none any more."""
        self._stream = stream

    def take_stream(self) -> "array[int]":
        """Return and forget the batches since the last call, flat int64: per batch the scheduling time, (step, link)
        per stage, and the end of the last stage; every batch has 2 + 2 * stages numbers.
        """
        assert self._stream is not None, "the pipeline is not streamed"
        taken, self._stream = self._stream, array("q")
        return taken
