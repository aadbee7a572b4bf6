"""A replica: the leaf process that serves requests.

Design.  Everything that can happen to a replica is one of four events, handled in the order of their instants: a
message falls due, a batch ends, a batch is formed, its state is looked at (a mark).  A batch is committed when its
*formation* is handled: the pipeline's recurrence gives its end at once, so responses leave one whole step early, which
is most of the protocol's lookahead.  Up to ``batches_in_flight`` formed batches may be unfinished.

If the scheduler says that the next k batches are the same decodes (uniform steps), they are planned as one vector
(``UniformDecode``), and as many are committed as are formed below the horizon and below the next message.  A plan
survives until something changes the batch, so advancing in small windows costs no more than in one.
"""

import heapq
import pickle
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Message, Promise
from cluster_sim.hardware.jitter import Jitter
from cluster_sim.hardware.predictors.base import BatchShape, Predictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.batch_recording import record_batch, record_lookups
from cluster_sim.serving.cancellations import Cancellations
from cluster_sim.serving.fast_forward.data_parallel_decode import DataParallelDecode
from cluster_sim.serving.fast_forward.pipelined_decode import PipelinedDecode, pipelined_steps
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.fast_forward.uniform_decode import UniformDecode
from cluster_sim.serving.messages import Cancellation, Dispatch, EndOfArrivals, Response
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.stall_detector import StallDetector
from cluster_sim.serving.state_sampler import StateSampler

_BATCH_END: Final = Kind.BATCH_END
_REPLICA_SCHEDULE: Final = Kind.REPLICA_SCHEDULE
MOST_TURNS: Final = 512
"""Turns of each batch that a pipeline's run plans at most: an arrival throws the rest of a plan away."""
_NO_SHAPE: Final = BatchShape()
"""The shape of batches inside a decode run: nobody asks for it."""


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
    stall_limit_ns: int = 3_600_000_000_000
    """Simulated time without any token, while requests are here, after which the run is given up."""
    recall_ns: int | None = None
    """For how long after its end a request may still be cancelled: both links; None where no client gives up."""
    jitters: tuple[Jitter, ...] = ()
    """Noise on the step times of each stage, or nothing."""


def floor_model(predictor: Predictor, limits: SchedulerLimits) -> FloorModel:
    """Return the floors of a replica: what its promises, and the hub's bounds for it, are made of."""
    stages = range(predictor.stages)
    floors = [predictor.floor_ns(stage) for stage in stages]
    links = sum(predictor.stage_link_ns(1, stage) for stage in stages[:-1])
    return FloorModel(sum(floors) + links, max(floors), limits.is_async or predictor.stages == 1)


class Replica:
    """One serving replica."""

    def __init__(
        self,
        settings: ReplicaSettings,
        scheduler: Scheduler,
        predictor: Predictor,
        log: ReplicaLog,
        *,
        is_streamed: bool = False,
    ) -> None:
        self.settings = settings
        self.source = settings.index + 1
        self.log = log
        self.pipeline = Pipeline(predictor, is_streamed, settings.jitters)
        self._scheduler = scheduler
        self._predictor = predictor
        self._has_frontend = bool(predictor.frontend_ns or predictor.frontend_ns_per_token)
        scheduler.use_predictor(predictor)
        self._floors = floor_model(predictor, settings.limits)
        self._depth = settings.limits.batches_in_flight
        self._is_one_stage = predictor.stages == 1
        can_plan = settings.limits.can_fast_forward if self._is_one_stage else settings.limits.can_fast_forward_stages
        self._can_plan = can_plan and not is_streamed
        self._horizon: Instant = 0
        self._inbox: list[Message] = []
        self._in_flight: deque[tuple[int, Batch | None]] = deque()
        """(end, batch) of formed batches; no batch where its end changes nothing (inside a decode run)."""

        self._form_ns = -1
        """When the next batch may be formed; -1 while nothing can be or no slot in flight is free."""
        self._finishing_ns = -1
        """End of the last formed batch that yields some last token."""
        self._run: PlannedDecode | None = None
        self._stalls = StallDetector(settings.index, settings.limits.kv_blocks, settings.stall_limit_ns)
        self._recall_ns = settings.recall_ns
        self._cancellations = Cancellations(scheduler, log, settings.recall_ns or 0)
        self._sampler = StateSampler(
            settings.index,
            settings.limits.kv_blocks,
            log,
            settings.series_interval_ns,
            settings.sample_period_ns,
            settings.sample_latency_ns,
            samples_kv=settings.samples_kv,
        )
        self._out: list[Message] = []

    # ------------------------------------------------------------------------------------------------------- protocol

    def receive(self, message: Message) -> None:
        """Accept a dispatch or cancellation; what the API server does first delays when the scheduler sees it."""
        assert message.at >= self._horizon, f"{message} came below replica {self.settings.index}'s horizon"
        payload = message.payload
        if isinstance(payload, Dispatch):
            delay_ns = self._frontend_ns(payload)
            if delay_ns:
                message = message._replace(at=message.at + instant(delay_ns, 0))
        heapq.heappush(self._inbox, message)

    def _frontend_ns(self, dispatch: Dispatch) -> int:
        """Return the time that the API server spends on a request before the scheduler sees it."""
        if not self._has_frontend:
            return 0
        predictor = self._predictor
        return predictor.frontend_ns + int(predictor.frontend_ns_per_token * dispatch.request.prompt_tokens)

    def advance(self, horizon: Instant) -> list[Message]:
        """Handle every event strictly below ``horizon``; return responses and samples, stamped at the hub."""
        assert horizon >= self._horizon, "horizons only grow"
        self._out = []
        inbox, in_flight, sampler = self._inbox, self._in_flight, self._sampler
        while True:
            end_at = in_flight[0][0] << KIND_BITS | _BATCH_END if in_flight else NEVER
            at = end_at
            if self._form_ns >= 0 and (form_at := self._form_ns << KIND_BITS | _REPLICA_SCHEDULE) < at:
                at = form_at
            if inbox and inbox[0].at < at:
                at = inbox[0].at
                if at >= horizon:
                    break
                if sampler.next_at < at:
                    sampler.sample_until(at, self._scheduler, self._out)
                self._handle(heapq.heappop(inbox))
                continue
            if at >= horizon:
                break
            if sampler.next_at < at:
                sampler.sample_until(at, self._scheduler, self._out)
            run = self._run
            if run is None and self._can_plan and (not in_flight or in_flight[0][0] > self._finishing_ns):
                run = self._run = self._plan_decode() if self._is_one_stage else self._plan_pipelined_decode()
            if run is not None and self._commit_run(run, horizon):
                continue
            if at == end_at:
                self._end_batch()
            else:
                self._form()
        self._horizon = horizon
        if sampler.next_sample_at < horizon < NEVER:
            sampler.report(horizon, self._scheduler, self._out)
        if self.settings.is_probed:
            sampler.probe(horizon, self._scheduler, self._out)
        return self._out

    def finish(self, end: Instant) -> None:
        """Handle what is left below ``end``, none of which reaches the hub in time, and mark the rest of the run."""
        if end > self._horizon:
            self.advance(end)
        self._sampler.sample_until(end, self._scheduler, self._out)
        self._cancellations.cut_off(time_of(end))
        self.log.busy_ns = list(self.pipeline.busy_ns)

    def promise(self) -> Promise:
        """Return (C, U): C is exact for a planned decode run that ends with a completion, and never where nothing will
        happen without a message, whatever waits here; otherwise both rest on the step floor.
        """
        unconditional = self._unconditional()
        if not self._inbox:
            if self._form_ns < 0 and not self._in_flight:
                return Promise(NEVER, unconditional)
            run = self._plan()
            if run is not None and run.is_finishing:
                return Promise(instant(run.last_end_ns, Kind.RESPONSE), unconditional)
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
                batches = message.payload.fewest_batches(self.settings.limits.tokens_per_step)
                start = max(time_of(message.at), first)
                earliest = min(earliest, instant(start + floors.cost_ns(batches), Kind.RESPONSE))
        return earliest

    def _next_start_ns(self) -> int:
        """Return the earliest start of the next batch to be formed."""
        formed = time_of(self._horizon)
        if self._scheduler.next_wakeup_ns < 0:  # An arrival may well come before a timer and start a batch.
            formed = max(formed, self._form_ns)
        if len(self._in_flight) >= self._depth:
            formed = max(formed, self._in_flight[0][0])
        return max(formed, self.pipeline.free_ns[0])

    def next_report(self) -> Instant:
        """Return when running, waiting or (where read) KV usage may next change without a message; a change that no
        sample has shown yet counts as made just now.
        """
        if self._sampler.has_news(self._scheduler):
            return self._horizon - 1
        due = self._inbox[0].at if self._inbox else NEVER
        if self._form_ns < 0 and not self._in_flight:
            return due
        if not self.settings.samples_kv:
            run = self._plan()
            if run is not None:
                # The formation that follows may be the first to preempt, before the run's last batch has ended.
                following_ns, end_ns = run.formed_ns(run.steps), run.last_end_ns
                change = following_ns << KIND_BITS | _REPLICA_SCHEDULE
                if end_ns <= following_ns:
                    change = end_ns << KIND_BITS | _BATCH_END
                return change if change < due else due  # noqa: FURB136 - a call costs five times as much
        if self._form_ns >= 0:
            return min(due, instant(self._form_ns, Kind.REPLICA_SCHEDULE))
        return min(due, instant(self._in_flight[0][0], Kind.BATCH_END))

    def counters(self) -> Any:
        """Return (running, waiting, KV usage ratio, the log's counters)."""
        scheduler = self._scheduler
        self.log.busy_ns = list(self.pipeline.busy_ns)
        return (
            scheduler.running_count,
            scheduler.waiting_count,
            scheduler.kv_used_blocks / self.settings.limits.kv_blocks,
            self.log.counters(),
        )

    def snapshot(self) -> bytes:
        """Return the whole state; the predictor, a pure function, stays outside."""
        state = {name: value for name, value in self.__dict__.items() if name not in {"_predictor", "pipeline", "_out"}}
        return pickle.dumps((state, self.pipeline.snapshot()))

    def restore(self, state: bytes) -> None:
        """Take back a state returned by ``snapshot`` of a replica with the same settings."""
        values, pipeline = pickle.loads(state)  # noqa: S301 - our own bytes, never a user's
        self.__dict__.update(values)
        self._scheduler.use_predictor(self._predictor)
        self.pipeline.restore(pipeline)

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
            if not self._in_flight and self._form_ns < 0:
                self._stalls.since_ns, self._stalls.attempts_without_batch = now_ns, 0
            self.log.enter(now_ns - self._frontend_ns(payload))
            self._scheduler.add(Sequence(payload.request, payload.attempt, now_ns))
        elif isinstance(payload, EndOfArrivals):
            pending = [each.at for each in self._inbox if isinstance(each.payload, Dispatch)]
            if pending:  # The API server still works on some, or they come at this very time.
                heapq.heappush(self._inbox, message._replace(at=max(pending) + 1))
                return
            self._scheduler.drain()
        else:
            self._cancel(payload, now_ns)
        if len(self._in_flight) < self._depth:
            self._form_ns = now_ns

    def _cancel(self, cancel: Cancellation, now_ns: int) -> None:
        """Cancel a request wherever it is: see ``Cancellations``; at the API server it is dropped at once."""
        for message in self._inbox if self._has_frontend else ():
            payload = message.payload
            if isinstance(payload, Dispatch) and payload.request.request_id == cancel.request_id:
                self._inbox.remove(message)
                heapq.heapify(self._inbox)
                self.log.enter(time_of(message.at) - self._frontend_ns(payload))
                self.log.leave(now_ns)
                return
        self._cancellations.handle(cancel, now_ns, is_idle=not self._in_flight)

    def _end_batch(self) -> None:
        end_ns, batch = self._in_flight.popleft()
        if batch is not None:
            self._scheduler.complete(batch)
        if self._cancellations.pending:
            self._cancellations.retry(end_ns)
        self._form_ns = end_ns if self._scheduler.has_work() else -1

    def _form(self) -> None:
        """Form one batch at ``_form_ns``; the formation is handled, so the batch is final."""
        self._run = None
        now_ns = self._form_ns
        scheduler = self._scheduler
        batch = scheduler.schedule(now_ns)
        if batch is None:
            if not scheduler.retry_now or self._in_flight:
                self._form_ns = scheduler.next_wakeup_ns
            self.log.preemptions += scheduler.unbatched_preemptions
            self._stalls.attempts_without_batch += 1
            self._stalls.check(now_ns, scheduler, self.waiting_ids)
            return
        batch.formed_ns = now_ns
        batch.start_ns, batch.end_ns = self.pipeline.run(batch.shape, now_ns + batch.delay_ns)
        record_batch(self.log, batch)
        if scheduler.has_prefix_cache:
            record_lookups(self.log, batch)
        scheduler.on_scheduled(batch)
        end_ns = batch.end_ns
        if batch.shape.decodes or batch.completed:
            progress = self._stalls
            progress.since_ns = end_ns
            progress.attempts_without_batch = 0
        else:
            self._stalls.check(now_ns, scheduler, self.waiting_ids)
        for sequence in batch.completed:
            if sequence.first_token_ns < 0:
                sequence.first_token_ns = end_ns
        if batch.finishing:
            self._respond(batch.finishing, end_ns)
        self._in_flight.append((end_ns, batch))
        if len(self._in_flight) >= self._depth:
            self._form_ns = -1

    def _respond(self, finishing: list[Sequence], end_ns: int) -> None:
        self._finishing_ns = end_ns
        back = self.settings.return_ns
        at = instant(end_ns + back, Kind.RESPONSE)
        for sequence in finishing:
            response = Response(
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
            self._out.append(Message(at, self.source, sequence.request_id, response))
        if self._recall_ns is not None:
            self._cancellations.remember(finishing, end_ns, time_of(self._horizon))

    # ------------------------------------------------------------------------------------------------ fast-forwarding

    def _plan(self) -> PlannedDecode | None:
        """Return the planned run that starts with the next formation, or None."""
        if self._run is None and self._can_plan:
            in_flight = self._in_flight
            # A batch in flight that ends with a completion changes who decodes.
            if not in_flight or in_flight[0][0] > self._finishing_ns:
                self._run = self._plan_decode() if self._is_one_stage else self._plan_pipelined_decode()
        return self._run

    def _plan_decode(self) -> PlannedDecode | None:
        """Return the next iterations of one stage's pool, or pools where it has ranks."""
        in_flight, form_ns, scheduler = self._in_flight, self._form_ns, self._scheduler
        if len(in_flight) + (form_ns >= 0) != self._depth or self._cancellations.pending:
            return None
        steps = scheduler.uniform_steps()
        if steps < 2:
            return None
        head = tuple([end_ns for end_ns, _ in in_flight])
        if form_ns >= 0:
            head = (form_ns, *head)
        pool = scheduler.decode_pool
        if pool is None:
            return self._plan_data_parallel_decode(head, steps)
        steps_ns = self.pipeline.decode_run_ns(len(pool.members), pool.kv_tokens, steps)
        return UniformDecode(head, steps_ns, (pool,), is_finishing=steps == pool.steps_to_finish())

    def _plan_data_parallel_decode(self, head_ns: tuple[int, ...], steps: int) -> DataParallelDecode | None:
        """Return the next ``steps`` iterations that ranks make together."""
        pools = self._scheduler.data_parallel_pools()
        steps_ns = self.pipeline.joint_run_ns(pools, steps)
        if steps_ns is None:
            return None
        finish = min(pool.steps_to_finish() for pool in pools)
        return DataParallelDecode(head_ns, steps_ns, pools, is_finishing=len(steps_ns) == finish)

    def _plan_pipelined_decode(self) -> PipelinedDecode | None:
        """Return the next turns of the batches in a pipeline, and of the one about to be formed if there is one."""
        in_flight, form_ns = self._in_flight, self._form_ns
        if not in_flight or self._cancellations.pending:
            return None
        pools = self._scheduler.pipelined_pools()
        head = [end_ns for end_ns, _ in in_flight]
        pool_ends = [pool.last_tokens.time_ns for pool in pools]
        is_whole = pool_ends == head
        if not is_whole:
            # A batch in flight may hold no decode, only the first part of a prompt: then it does not come round again.
            if pool_ends[1:] != head or not pool_ends[0] <= form_ns < head[0]:
                return None
            head = [form_ns, *head]
        steps, is_finishing = pipelined_steps(pools, self._scheduler.spare_blocks(), MOST_TURNS * len(pools))
        if steps < 2:
            return None
        costs_ns = self.pipeline.pipelined_costs_ns(pools, steps)
        if is_whole:
            self._form_ns = -1  # A slot may be free, but nobody is there to fill it.
        return PipelinedDecode(pools, head, costs_ns, self.pipeline.free_ns, is_finishing=is_finishing)

    def _commit_run(self, run: PlannedDecode, horizon: Instant) -> bool:
        """Commit what is planned to be formed below ``horizon`` and the next message; False if there is nothing."""
        inbox = self._inbox
        limit = inbox[0].at if inbox and inbox[0].at < horizon else horizon
        upto = run.steps_formed_by((limit - 1 - _REPLICA_SCHEDULE) >> KIND_BITS)
        if upto <= run.offset:
            return False
        scheduler, sampler, in_flight = self._scheduler, self._sampler, self._in_flight
        if sampler.next_at < limit and sampler.next_at < run.last_end_ns << KIND_BITS:
            last_committed = run.formed_ns(upto - 1) << KIND_BITS | _REPLICA_SCHEDULE
            if sampler.next_at < last_committed:
                sampler.pass_run(last_committed, run, scheduler, self._out)
        finishing = run.commit(upto, scheduler, self.pipeline, self.log)
        ends_ns = run.in_flight_after(upto)
        in_flight.clear()
        for end_ns in ends_ns:
            in_flight.append((end_ns, None))
        self._stalls.since_ns, self._stalls.attempts_without_batch = end_ns, 0
        if finishing:
            self._respond(finishing, end_ns)
            last = Batch(_NO_SHAPE)
            last.end_ns = end_ns
            last.finishing = finishing
            in_flight[-1] = (end_ns, last)
        self._form_ns = -1
        if upto == run.steps:
            self._run = None
        return True
