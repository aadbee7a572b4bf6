"""A replica: the leaf process that serves requests.

Design.  Everything that can happen to a replica is one of four events, handled in the order of their instants: a
message falls due, a batch ends, a batch is formed, its state is looked at (a mark).  A batch is committed when its
*formation* is handled: the pipeline's recurrence gives its end at once, so responses leave one whole step early, which
is most of the protocol's lookahead.  Up to ``batches_in_flight`` formed batches may be unfinished.

Where the scheduler says that the next k batches are the same decodes (steady steps), they are planned as one vector
(``DecodeRun``) and as many are committed as are formed below the horizon and below the next message.  A plan survives
until something changes the batch, so advancing in small windows costs no more than in one.
"""

import heapq
import pickle
from collections import deque
from dataclasses import dataclass
from typing import Any

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Message, Promise
from cluster_sim.hardware.predictor import BatchShape, Predictor
from cluster_sim.recording.outcome import FINISHED, Outcome, Sample
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.decode_run import DecodeRun
from cluster_sim.serving.marks import Grid
from cluster_sim.serving.messages import Cancel, Dispatch
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.schedulers.base import Scheduler, SchedulerLimits
from cluster_sim.serving.sequence import Sequence


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """What a replica is told of its place, beside its scheduler and predictor."""

    index: int
    """From 0 over the whole fleet; the replica's source is one more."""
    limits: SchedulerLimits
    return_ns: int
    sample_period_ns: int = 0
    """0 when nobody reads periodic telemetry."""
    sample_latency_ns: int = 0
    is_probed: bool = False
    """Perfect instantaneous telemetry: a sample after every advance that changed something."""
    samples_kv: bool = False
    """Whether somebody reads the KV usage, which changes with every step."""
    series_interval_ns: int = 0


def floor_model(predictor: Predictor, limits: SchedulerLimits) -> FloorModel:
    """Return the floors of a replica: what its promises, and the hub's bounds for it, are made of."""
    stages = range(predictor.stages)
    floors = [predictor.floor_ns(stage) for stage in stages]
    links = sum(predictor.stage_link_ns(1, stage) for stage in stages[:-1])
    return FloorModel(sum(floors) + links, max(floors), limits.is_async or predictor.stages == 1)


class Replica:
    """One serving replica."""

    def __init__(
        self, settings: ReplicaSettings, scheduler: Scheduler, predictor: Predictor, log: ReplicaLog, *,
        is_streamed: bool = False,
    ) -> None:
        self.settings = settings
        self.source = settings.index + 1
        self.log = log
        self.pipeline = Pipeline(predictor, is_streamed)
        self._scheduler = scheduler
        self._predictor = predictor
        self._floors = floor_model(predictor, settings.limits)
        self._depth = settings.limits.batches_in_flight
        self._can_plan = settings.limits.can_macro_step and predictor.stages == 1 and not is_streamed
        self._horizon: Instant = 0
        self._inbox: list[Message] = []
        self._in_flight: deque[Batch] = deque()
        self._form_ns = -1
        """When the next batch may be formed; -1 while nothing can be or no slot in flight is free."""
        self._run: DecodeRun | None = None
        self._run_offset = 0
        """Steps of the plan committed already."""
        self._cancellations: dict[int, list[Cancel]] = {}
        self._ticks = Grid(settings.series_interval_ns, settings.series_interval_ns)
        self._samples = Grid(settings.sample_period_ns)
        self._reported = (0, 0, 0)
        self._out: list[Message] = []

    # ------------------------------------------------------------------------------------------------------- protocol

    def receive(self, message: Message) -> None:
        """Accept a dispatch or cancellation; what the API server does first delays when the scheduler sees it."""
        assert message.at >= self._horizon, f"{message} came below replica {self.settings.index}'s horizon"
        payload = message.payload
        if isinstance(payload, Dispatch):
            delay_ns = self._predictor.frontend_ns + int(
                self._predictor.frontend_ns_per_token * payload.request.prompt_tokens
            )
            if delay_ns:
                message = message._replace(at=message.at + instant(delay_ns, 0))
        heapq.heappush(self._inbox, message)

    def advance(self, horizon: Instant) -> list[Message]:
        """Handle every event strictly below ``horizon``; return responses and samples, stamped at the hub."""
        assert horizon >= self._horizon, "horizons only grow"
        self._out = []
        inbox, in_flight = self._inbox, self._in_flight
        while True:
            at = inbox[0].at if inbox else NEVER
            end_at = instant(in_flight[0].end_ns, Kind.BATCH_END) if in_flight else NEVER
            form_at = instant(self._form_ns, Kind.REPLICA_SCHEDULE) if self._form_ns >= 0 else NEVER
            at = min(at, end_at, form_at)
            if at >= horizon:
                break
            self._mark(at)
            if at == end_at:
                if not self._commit_run(horizon):
                    self._end_batch()
            elif at == form_at:
                if not self._commit_run(horizon):
                    self._form()
            else:
                self._handle(heapq.heappop(inbox))
        self._horizon = horizon
        if horizon < NEVER:
            self._mark(horizon)
        if self.settings.is_probed:
            self._probe(horizon)
        return self._out

    def finish(self, end: Instant) -> None:
        """Handle what is left below ``end``, none of which reaches the hub in time, and mark the rest of the run."""
        if end > self._horizon:
            self.advance(end)
        self._mark(end)
        self.log.busy_ns = list(self.pipeline.busy_ns)

    def promise(self) -> Promise:
        """Return (C, U): exact for a planned decode run that ends with a completion, the step floor otherwise."""
        unconditional = self._unconditional()
        if not self._inbox:
            run = self._plan()
            if run is not None and run.is_finishing:
                return Promise(instant(int(run.ends_ns[-1]), Kind.RESPONSE), unconditional)
        return Promise(unconditional, unconditional)

    def _unconditional(self) -> Instant:
        floors = self._floors
        first = self._next_start_ns()
        earliest = NEVER
        batches = self._scheduler.fewest_batches()
        if batches:
            earliest = instant(first + floors.cost_ns(batches), Kind.RESPONSE)
        for message in self._inbox:
            if isinstance(message.payload, Dispatch):
                batches = message.payload.request.output_tokens
                start = max(time_of(message.at), first)
                earliest = min(earliest, instant(start + floors.cost_ns(batches), Kind.RESPONSE))
        return earliest

    def _next_start_ns(self) -> int:
        """Return the earliest start of the next batch to be formed."""
        formed = max(time_of(self._horizon), self._form_ns)
        if len(self._in_flight) >= self._depth:
            formed = max(formed, self._in_flight[0].end_ns)
        return max(formed, self.pipeline.free_ns[0])

    def next_report(self) -> Instant:
        """Return when running, waiting or (where read) KV usage may next change without a message; a change that no
        sample has shown yet counts as made just now."""
        if self._samples.interval_ns and self._state() != self._reported:
            return self._horizon - 1
        due = self._inbox[0].at if self._inbox else NEVER
        if self._form_ns < 0 and not self._in_flight:
            return due
        if not self.settings.samples_kv:
            run = self._plan()
            if run is not None:
                return min(due, instant(int(run.ends_ns[-1]), Kind.BATCH_END))
        if self._form_ns >= 0:
            return min(due, instant(self._form_ns, Kind.REPLICA_SCHEDULE))
        return min(due, instant(self._in_flight[0].end_ns, Kind.BATCH_END))

    def counters(self) -> Any:
        """Return (running, waiting, KV usage ratio, the log's counters)."""
        scheduler = self._scheduler
        self.log.busy_ns = list(self.pipeline.busy_ns)
        return (
            scheduler.running_count,
            scheduler.waiting_count,
            scheduler.kv_used / self.settings.limits.kv_blocks,
            self.log.counters(),
        )

    def snapshot(self) -> bytes:
        """Return the whole state; the predictor, a pure function, stays outside."""
        state = {name: value for name, value in self.__dict__.items() if name not in {"_predictor", "pipeline", "_out"}}
        return pickle.dumps((state, self.pipeline.free_ns, self.pipeline.busy_ns))

    def restore(self, state: bytes) -> None:
        """Take back a state returned by ``snapshot`` of a replica with the same settings."""
        values, free_ns, busy_ns = pickle.loads(state)  # noqa: S301 - our own bytes, never a user's
        self.__dict__.update(values)
        self.pipeline.free_ns, self.pipeline.busy_ns = free_ns, busy_ns

    def waiting_ids(self) -> list[int]:
        """Return the ids of requests here that no batch holds, for messages about a run without progress."""
        pending = [each.payload.request.request_id for each in self._inbox if isinstance(each.payload, Dispatch)]
        return [*self._scheduler.waiting_ids(), *pending]

    # --------------------------------------------------------------------------------------------------------- events

    def _handle(self, message: Message) -> None:
        self._run = None
        now_ns = time_of(message.at)
        payload = message.payload
        if isinstance(payload, Dispatch):
            self.log.enter(now_ns)
            self._scheduler.enqueue(Sequence(payload.request, payload.attempt, now_ns))
        else:
            self._cancel(payload, now_ns)
        if len(self._in_flight) < self._depth:
            self._form_ns = now_ns

    def _cancel(self, cancel: Cancel, now_ns: int) -> None:
        """Cancel at once where no batch holds the request, else at the end of the last formed batch."""
        if self._in_flight:
            self._cancellations.setdefault(self._in_flight[-1].end_ns, []).append(cancel)
        elif self._scheduler.cancel(cancel.request_id):
            self.log.leave(now_ns)

    def _end_batch(self) -> None:
        batch = self._in_flight.popleft()
        self._scheduler.end(batch)
        if self._cancellations:
            for cancel in self._cancellations.pop(batch.end_ns, ()):
                if self._scheduler.cancel(cancel.request_id):
                    self.log.leave(batch.end_ns)
                    self._run = None
        self._form_ns = batch.end_ns

    def _form(self) -> None:
        """Form one batch at ``_form_ns``; the formation is handled, so the batch is final."""
        self._run = None
        now_ns = self._form_ns
        scheduler = self._scheduler
        batch = scheduler.form(now_ns)
        if batch is None:
            if not scheduler.must_form_again or self._in_flight:
                self._form_ns = -1
            return
        batch.formed_ns = now_ns
        batch.start_ns, batch.end_ns = self.pipeline.run(batch.shape, now_ns)
        self._note(batch)
        scheduler.place(batch)
        for sequence in batch.completed:
            if sequence.first_token_ns < 0:
                sequence.first_token_ns = batch.end_ns
        if batch.finishing:
            self._respond(batch.finishing, batch.end_ns)
        self._in_flight.append(batch)
        if len(self._in_flight) >= self._depth:
            self._form_ns = -1

    def _note(self, batch: Batch) -> None:
        log, shape, end_ns = self.log, batch.shape, batch.end_ns
        prompt_tokens = 0
        for chunk, _ in shape.prefills:
            prompt_tokens += chunk
        log.step(
            end_ns,
            end_ns - batch.steady_from_ns if batch.steady_decodes else 0,
            batch.steady_decodes,
            prompt_tokens,
            shape.decodes + shape.completed_prefills,
        )
        for previous_ns in batch.gap_starts_ns:
            log.gap(end_ns - previous_ns)
        for sequence in batch.completed:
            if sequence.last_token_ns >= 0:
                log.gap(end_ns - sequence.last_token_ns)  # Its first token since a preemption.
        log.preemptions += len(batch.preempted)

    def _respond(self, finishing: list[Sequence], end_ns: int) -> None:
        back = self.settings.return_ns
        at = instant(end_ns + back, Kind.RESPONSE)
        for sequence in finishing:
            outcome = Outcome(
                sequence.request_id,
                sequence.attempt,
                FINISHED,
                sequence.scheduled_ns,
                sequence.first_token_ns + back,
                end_ns + back,
                sequence.cached_tokens,
                sequence.preemptions,
            )
            self.log.leave(end_ns)
            self._out.append(Message(at, self.source, sequence.request_id, outcome))

    # ---------------------------------------------------------------------------------------------------- macro-steps

    def _plan(self) -> DecodeRun | None:
        """Return the planned decode run that starts with the next formation, or None."""
        if self._run is not None:
            return self._run
        if not self._can_plan:
            return None
        in_flight = self._in_flight
        if self._form_ns >= 0 and len(in_flight) == self._depth - 1:
            first_ns = self._form_ns
            ends = [batch.end_ns for batch in in_flight]
        elif self._form_ns < 0 and len(in_flight) == self._depth:
            first_ns = in_flight[0].end_ns
            ends = [batch.end_ns for batch in in_flight][1:]
        else:
            return None
        if self._cancellations:
            return None
        for batch in in_flight:
            if batch.finishing:
                return None
        steps = self._scheduler.steady_steps()
        if steps < 2:
            return None
        pool = self._scheduler.steady_pool
        assert pool is not None
        steps_ns = self._predictor.decode_run_ns(len(pool), pool.kv_tokens, steps)
        self._run = DecodeRun.plan(first_ns, ends, steps_ns, steps == pool.steps_to_finish())
        self._run_offset = 0
        return self._run

    def _commit_run(self, horizon: Instant) -> bool:
        """Commit the planned steps that are formed below ``horizon`` and the next message; False if there are none."""
        run = self._plan()
        if run is None:
            return False
        limit = min(horizon, self._inbox[0].at) if self._inbox else horizon
        offset = self._run_offset
        last_formed_ns = (limit - 1 - Kind.REPLICA_SCHEDULE) >> 7
        upto = int(run.formed_ns.searchsorted(last_formed_ns, "right")) if limit < NEVER else len(run.formed_ns)
        if upto <= offset:
            return False
        pool = self._scheduler.steady_pool
        assert pool is not None
        in_flight = self._in_flight
        self._mark_run(run, offset, int(run.formed_ns[upto - 1]))
        decodes = len(pool)
        ends = run.ends_ns[offset:upto]
        end_ns = int(ends[-1])
        gaps = run.steps_ns[offset:upto]
        first_end_ns = int(ends[0])
        if pool.last_end_ns != first_end_ns - int(gaps[0]) or pool.newcomers:
            self._note_first(pool.last_end_ns, [each.last_token_ns for each in pool.newcomers], first_end_ns, decodes)
            self.log.decode_run(ends[1:], gaps[1:], decodes)
        else:
            self.log.decode_run(ends, gaps, decodes)
        kv_tokens = pool.kv_tokens
        finishing = self._scheduler.commit_steady(upto - offset, end_ns)
        self.pipeline.occupy(int(gaps.sum()), end_ns)
        if finishing:
            self._respond(finishing, end_ns)
        last_ends = [batch.end_ns for batch in in_flight][1 - self._depth :] if self._depth > 1 else []
        last_ends += ends[-self._depth :].tolist()
        in_flight.clear()
        for each in last_ends[-self._depth :]:
            batch = Batch(BatchShape(decodes=decodes, decode_kv_tokens=kv_tokens))
            batch.end_ns = each
            in_flight.append(batch)
        in_flight[-1].finishing = finishing
        self._form_ns = -1
        self._run_offset = upto
        if upto == len(run.formed_ns):
            self._run = None
        return True

    def _note_first(self, steady_ns: int, late_ns: list[int], end_ns: int, decodes: int) -> None:
        """Note the first step of a run whose members' previous tokens did not all come right before it."""
        self.log.step(end_ns, end_ns - steady_ns, decodes - len(late_ns), 0, decodes)
        for previous_ns in late_ns:
            self.log.gap(end_ns - previous_ns)

    # ---------------------------------------------------------------------------------------------------------- marks

    def _mark(self, limit: Instant) -> None:
        """Look at the state at every tick and sample below ``limit``; it has not changed since the last event."""
        ticks, samples = self._ticks, self._samples
        if ticks.next_at < limit:
            scheduler = self._scheduler
            running, waiting, used = scheduler.running_count, scheduler.waiting_count, scheduler.kv_used
            while ticks.next_at < limit:
                self.log.tick(ticks.step(), running, waiting, used)
        if samples.next_at < limit:
            self._sample(samples.next_ns, self._scheduler.kv_used)
            samples.skip_below(limit)
            while samples.next_at < limit:
                samples.step()

    def _mark_run(self, run: DecodeRun, offset: int, last_formed_ns: int) -> None:
        """Look at the state at ticks and samples inside a decode run, from its closed form, before it is committed."""
        limit = instant(last_formed_ns, Kind.REPLICA_SCHEDULE)
        ticks, samples = self._ticks, self._samples
        scheduler = self._scheduler
        pool = scheduler.steady_pool
        assert pool is not None
        while ticks.next_at < limit:
            steps = int(run.formed_ns.searchsorted(ticks.next_ns, "left")) - offset
            used = scheduler.kv_used + pool.blocks_for(steps)
            self.log.tick(ticks.step(), scheduler.running_count, scheduler.waiting_count, used)
        while samples.next_at < limit:
            if not self.settings.samples_kv:
                self._sample(samples.next_ns, scheduler.kv_used)
                samples.skip_below(limit)
                samples.step()
                continue
            steps = int(run.formed_ns.searchsorted(samples.next_ns, "left")) - offset
            self._sample(samples.step(), scheduler.kv_used + pool.blocks_for(steps))

    def _sample(self, at_ns: int, used: int) -> None:
        """Report the state at a sampling instant, if it has changed since the last report."""
        scheduler = self._scheduler
        state = (scheduler.running_count, scheduler.waiting_count, used if self.settings.samples_kv else 0)
        if state == self._reported:
            return
        self._reported = state
        sample = Sample(self.settings.index, state[0], state[1], used / self.settings.limits.kv_blocks)
        at = instant(at_ns + self.settings.sample_latency_ns, Kind.NOTICE)
        self._out.append(Message(at, self.source, at_ns, sample))

    def _state(self) -> tuple[int, int, int]:
        scheduler = self._scheduler
        used = scheduler.kv_used if self.settings.samples_kv else 0
        return scheduler.running_count, scheduler.waiting_count, used

    def _probe(self, horizon: Instant) -> None:
        scheduler = self._scheduler
        state = (scheduler.running_count, scheduler.waiting_count, scheduler.kv_used)
        if state != self._reported and horizon < NEVER:
            self._reported = state
            now_ns = time_of(horizon)
            sample = Sample(self.settings.index, state[0], state[1], state[2] / self.settings.limits.kv_blocks)
            self._out.append(Message(instant(now_ns, Kind.SAMPLE), self.source, now_ns, sample))

