"""Replica: the logical process that serves requests.

Design.  Everything that can happen to a replica is one of four events, handled in the order of their instants: a
message falls due, a batch ends, a batch is scheduled, its state is sampled.  A batch is committed when it is
*scheduled*: the pipeline's recurrence gives its end at once, so responses leave one whole step early, which is most of
the protocol's lookahead.  Up to ``batches_in_flight`` scheduled batches may be unfinished.

If the scheduler says that the next steps all decode the same batch, they are planned as one vector
(``fast_forward_planner``), and as many are committed as are scheduled below the horizon and below the next message.

A crash is known beforehand (``lives/``): a batch that would end after it is scheduled, but answers nothing and counts
for nothing but the work of its stages until then; at the crash everything here is dropped, and a new life begins.
"""

from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final

from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, time_of
from cluster_sim.engine.process import HUB_SOURCE, Join, Message, OutputTimes
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.recording.live_state import LiveState
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving import batch_recording
from cluster_sim.serving.attempts import Attempts
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.departures import DepartureReport
from cluster_sim.serving.earliest_output import Guarantees
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode
from cluster_sim.serving.fast_forward_planner import FastForwardPlanner
from cluster_sim.serving.first_tokens import FirstTokens
from cluster_sim.serving.handover.leg_reports import LegReports
from cluster_sim.serving.handover.legs import Leg
from cluster_sim.serving.handover.messages import KvReady, PrefillLeg, Release, Reservation
from cluster_sim.serving.inbox import ApiServer, Inbox
from cluster_sim.serving.lives.life_clock import LifeClock
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.lives.timeline import Crash, Timeline
from cluster_sim.serving.messages import Cancellation, Dispatch, EndOfArrivals, Leave, Observe, Withdrawal
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.replica_settings import ReplicaSettings, floor_model
from cluster_sim.serving.responses import Responses
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence, key_of
from cluster_sim.serving.stall_detector import StallDetector
from cluster_sim.serving.state_sampler import StateSampler, grid_samplers
from cluster_sim.serving.step_state import StepState
from cluster_sim.snapshot.externals import Externals, externals_of
from cluster_sim.snapshot.graph import decode_graph, encode_graph

_BATCH_END: Final = Kind.BATCH_END
_REPLICA_SCHEDULE: Final = Kind.REPLICA_SCHEDULE


class Replica:
    """One serving replica."""

    SNAPSHOT_WITHOUT: ClassVar = ("_responses",)
    """It joins other parts and has no state."""

    def __init__(
        self,
        settings: ReplicaSettings,
        scheduler: Scheduler,
        predictor: Predictor,
        log: ReplicaLog,
        *,
        is_streamed: bool = False,
        new_scheduler: Callable[[], Scheduler] | None = None,
    ) -> None:
        """``new_scheduler`` builds that of a later life; a replica that never crashes nor leaves needs none."""
        limits = settings.limits
        self.settings = settings
        self.source = settings.index + 1
        self.log = log
        self.pipeline = Pipeline(predictor, is_streamed, settings.jitters, limits.batches_in_flight)
        self._scheduler = scheduler
        self._new_scheduler = new_scheduler
        self._predictor = predictor
        self._horizon: Instant = 0
        self._inbox = Inbox(ApiServer(predictor.frontend_ns, predictor.frontend_ns_per_token))
        self._steps = StepState(limits.batches_in_flight)
        self._stalls = StallDetector(settings.index, limits.kv_blocks, settings.stall_limit_ns)
        self._link = ReturnLink(settings.return_ns)
        self._legs = LegReports(self.source, self._link)
        first_tokens = FirstTokens(self.source, self._link, settings.run_end)
        self._first_tokens = first_tokens if settings.reports_first_tokens else None
        departures = DepartureReport(self.source, predictor.stages, self._link)
        late_ns = settings.late_cancellation_ns or 0
        self._attempts = Attempts(
            scheduler, log, self._inbox, self._steps, self._link, departures, self._first_tokens, late_ns
        )
        self._join_responses()
        self._sampler = StateSampler(settings, log, grid_samplers(settings, self._link), self._link)
        self._has_all_arrived = False
        self._clock: LifeClock | None = None
        """What befalls this replica; None if nothing does."""
        self._out: list[Message] = []
        if settings.is_joining:
            log.joined_ns = -1
            self._connect()
        else:
            self._begin(0)

    def _connect(self) -> None:
        """Make what only joins the other parts."""
        steps, scheduler, pipeline, limits = self._steps, self._scheduler, self.pipeline, self.settings.limits
        pipeline.clock = self._clock
        scheduler.use_predictor(self._predictor)
        can_plan = limits.can_fast_forward if pipeline.stages == 1 else limits.can_fast_forward_stages
        can_plan = can_plan and not pipeline.is_streamed
        cancellations, has_ranks = self._attempts.cancellations, limits.data_parallel > 1
        self._planner = FastForwardPlanner(
            steps, scheduler, pipeline, cancellations, can_plan=can_plan, has_ranks=has_ranks
        )
        jitters = self.settings.jitters
        floors = floor_model(self._predictor, limits, jitters[0].ratio if jitters else 0.0)
        tokens_per_step, return_ns = limits.tokens_per_step, self.settings.return_ns
        self._guarantees = Guarantees(
            floors,
            tokens_per_step,
            self._inbox,
            steps,
            scheduler,
            pipeline,
            self._planner,
            return_ns,
            self._first_tokens,
        )

    def _join_responses(self) -> None:
        """Make the responses of the parts that they join."""
        log, steps, attempts = self.log, self._steps, self._attempts
        self._responses = Responses(self.settings, log, steps, attempts, self._legs, self._link)

    # ------------------------------------------------------------------------------------------------------- protocol

    def receive(self, message: Message) -> None:
        """Accept a message; what the API server does first delays when the scheduler sees a request."""
        assert message.instant >= self._horizon, f"{message} came below replica {self.settings.index}'s horizon"
        if type(message.payload) is Observe and self._first_tokens is None and message.payload[0].first_tokens:
            self._first_tokens = FirstTokens(self.source, self._link, self.settings.run_end)
            self._guarantees.first_tokens = self._first_tokens
        self._inbox.push(message)

    def validate(self) -> None:
        """Assert in full what must hold between two windows: of the scheduler, and of the batches in flight."""
        self._scheduler.validate()
        self._steps.validate()

    def advance(self, horizon: Instant) -> list[Message]:
        """Handle every event strictly below ``horizon``; return responses and samples, stamped at the hub."""
        assert horizon >= self._horizon, "horizons only grow"
        self._out, reached = [], horizon
        inbox, steps, in_flight, sampler = self._inbox.heap, self._steps, self._steps.in_flight, self._sampler
        while True:
            batch_end = in_flight[0][0] << KIND_BITS | _BATCH_END if in_flight else NEVER
            event = batch_end
            if steps.schedule_ns >= 0:
                scheduling = steps.schedule_ns << KIND_BITS | _REPLICA_SCHEDULE
                event = scheduling if scheduling < event else event  # noqa: FURB136 - a call costs five times as much
            is_message = bool(inbox) and inbox[0].instant < event
            if is_message:
                event = inbox[0].instant
                if horizon >= NEVER and self._guarantees.awaits_only_a_crash():
                    reached = event  # The run ends first: its end says how many more crashes there are.
                    break
            if event >= horizon:
                break
            if sampler.next_due < event:
                sampler.sample_until(event, self._scheduler, self._out)
            if is_message:
                self._take(self._inbox.pop())
                continue
            planned = steps.planned if steps.is_planned else self._planner.plan()
            if planned is not None and self._fast_forward(planned, horizon):
                continue
            if event == batch_end:
                self._end_batch()
            else:
                self._schedule()
        self._horizon = reached
        if sampler.next_sample < horizon < NEVER:
            sampler.report(horizon, self._scheduler, self._out)
        if self.settings.is_probed:
            sampler.probe(horizon, self._scheduler, self._out)
        if horizon == self.settings.run_end < NEVER:
            self._steps.forget_plan()
            self._out += self._attempts.unanswered(time_of(horizon))
        return self._out

    def finish(self, end: Instant) -> None:
        """Handle what is left below ``end``, none of which reaches the hub in time, and mark the rest of the run.

        Work beyond the end is not the run's: neither its time nor its tokens, nor the departures that it leads to.
        """
        if end > self._horizon:
            self.advance(end)
        end_ns = time_of(end)
        if self.log.left_ns >= 0:
            end_ns = min(end_ns, self.log.left_ns)
        else:
            self._sampler.sample_until(end, self._scheduler, self._out)
            self._attempts.cancellations.finish(end_ns)
            batch_recording.record_rest(self.log, self._steps, self._inbox, self._scheduler, end_ns)
        self.log.close(end_ns, self.pipeline.busy_ns, self.pipeline.overrun_ns(end_ns))

    def output_times(self) -> OutputTimes:
        """Return the conditional and the unconditional EOT."""
        return self._guarantees.output_times(self._horizon)

    def next_report(self) -> Instant:
        """Return when a sampled figure may next change without a message; a change that no sample has shown yet counts
        as made just now.
        """
        if self._sampler.has_news(self._scheduler):
            return self._horizon - 1
        return self._guarantees.next_change(is_kv_sampled=self.settings.samples_kv)

    def counters(self) -> LiveState:
        """Return what live metrics are made of."""
        upto_ns = time_of(self._horizon)
        if self.log.left_ns < 0:  # What is in flight may be cut off when the replica leaves.
            busy_ns = sum(self.pipeline.busy_ns) - sum(self.pipeline.overrun_ns(upto_ns))
        else:
            busy_ns = sum(self.log.busy_ns)
        state = self._sampler.state_of(self._scheduler)
        ranks = self._scheduler.rank_states() if self.log.ranks else ()
        return LiveState(*state, busy_ns, upto_ns, self._scheduler.adapters(), self.log, ranks)

    def activity(self) -> Any:
        """Return what differs whenever the counters do."""
        return self._sampler.state_of(self._scheduler), self.log.activity()

    def snapshot(self) -> bytes:
        """Return the whole state; the predictor, a pure function, and what builds schedulers stay outside."""
        return encode_graph({"replica": self}, self._externals())

    def restore(self, state: bytes) -> None:
        """Take back a state returned by ``snapshot`` of a replica with the same settings."""
        decode_graph(state, self._externals(), {"replica": self})

    def after_restore(self) -> None:
        """Join the parts that have come back."""
        self._join_responses()

    def stream(self, *, is_streamed: bool) -> None:
        """Keep batches for stage actors, or no longer: a restored replica may go on elsewhere than it was."""
        if self.pipeline.is_streamed != is_streamed:
            self.pipeline.keep_stream(array("q") if is_streamed else None)
            self._steps.forget_plan()
            self._connect()

    def _externals(self) -> Externals:
        return externals_of({"predictor": self._predictor, "new_scheduler": self._new_scheduler})

    def waiting_ids(self) -> list[int]:
        """Return the ids of requests here that no batch holds, for messages about a run without progress."""
        return [*self._scheduler.waiting_ids(), *(each.request.request_id for _, each in self._inbox.dispatches())]

    # ------------------------------------------------------------------------------------------------------- messages

    def _take(self, message: Message) -> None:
        """Handle a message that has fallen due; it may change the next batch."""
        steps = self._steps
        steps.planned, steps.is_planned = None, False
        payload, now_ns = message.payload, message.instant >> KIND_BITS
        if self._HANDLERS[type(payload)](self, payload, now_ns) and len(steps.in_flight) < steps.depth:
            steps.schedule_ns = now_ns

    def _on_dispatch(self, dispatch: Dispatch, now_ns: int) -> bool:
        self._scheduler.add(self._accept(dispatch, now_ns))
        return True

    def _on_prefill_leg(self, dispatch: PrefillLeg, now_ns: int) -> bool:
        sequence = self._accept(dispatch, now_ns)
        sequence.leg, sequence.output_tokens, sequence.is_timed = Leg.PREFILL, 1, False
        self._scheduler.add(sequence)
        return True

    def _on_reservation(self, dispatch: Reservation, now_ns: int) -> bool:
        self._scheduler.reserve(self._accept(dispatch, now_ns))
        return True

    def _on_kv_ready(self, ready: KvReady, now_ns: int) -> bool:
        key = key_of(ready.request_id, ready.attempt)
        if self._first_tokens is not None and ready.generated_tokens:
            self._first_tokens.forget(key)  # It has come along.
        return self._scheduler.arrive(key, ready.computed_tokens, ready.generated_tokens, now_ns)

    def _on_release(self, release: Release, now_ns: int) -> bool:
        return self._scheduler.release(key_of(*release))

    def _accept(self, dispatch: Dispatch, now_ns: int) -> Sequence:
        """Return the sequence of a request that has come."""
        if self._steps.is_idle:
            self._stalls.since_ns, self._stalls.attempts_without_batch = now_ns, 0
        self.log.enter(self._inbox.delivered_ns(dispatch, now_ns))
        sequence = Sequence(dispatch.request, dispatch.attempt, now_ns, dispatch.resumed_tokens)
        sequence.stored_tokens, sequence.rank = dispatch.stored_tokens, dispatch.rank
        self._attempts.accept(sequence)
        return sequence

    def _on_cancellation(self, cancellation: Cancellation | Withdrawal, now_ns: int) -> bool:
        if self._scheduler.hands_over:
            self._scheduler.release(key_of(*cancellation))
        self._out += self._attempts.cancel(cancellation, now_ns)
        return True

    def _on_end_of_arrivals(self, event: EndOfArrivals, now_ns: int) -> bool:
        last = max((ready_at for ready_at, _ in self._inbox.dispatches()), default=None)
        if last is not None:  # The API server still works on some, or they come at this very time.
            self._inbox.push(Message(last + 1, HUB_SOURCE, event.requests, event))
            return False
        self._has_all_arrived = True
        self._scheduler.drain()
        return True

    def _begin(self, birth_ns: int) -> None:
        """Begin to exist at ``birth_ns``."""
        self.log.joined_ns = birth_ns
        self._sampler.start(birth_ns)
        self._begin_life(birth_ns)

    def set_timeline(self, timeline: Timeline) -> None:
        """Replace the faults to come by others that differ only in what begins after all that is decided here."""
        self.settings = replace(self.settings, timeline=timeline)
        if self.log.joined_ns >= 0 > self.log.left_ns:
            self._steps.forget_plan()
            self._begin_life(self.log.joined_ns if self._clock is None else self._clock.birth_ns)

    def _begin_life(self, since_ns: int) -> None:
        """Go on in the life that began at ``since_ns``, with what befalls it."""
        timeline = self.settings.timeline.born_at(self.log.joined_ns)
        self._link.outages = timeline.outages if timeline else None
        self._clock = LifeClock(timeline, since_ns) if timeline else None
        self._inbox.expect(None if self._clock is None else self._clock.crash, self.source)
        self._connect()

    def _on_join(self, _join: Join, now_ns: int) -> bool:
        self._begin(now_ns)
        return False

    def _on_observe(self, observe: Observe, now_ns: int) -> bool:
        """Report other things from now on; the first tokens of what comes from now on."""
        self.settings = self.settings.observed_by(observe.observation)
        self._sampler.change(grid_samplers(self.settings, self._link), now_ns)
        self._attempts.first_tokens = self._first_tokens
        return False

    def _on_crash(self, crash: Crash, now_ns: int) -> bool:
        """Lose everything, and begin a new life; nothing is sent here before the restart."""
        assert self._clock is not None
        self._clock.begin(crash.restart_ns)
        self._inbox.expect(self._clock.crash, self.source)
        self._empty(now_ns)
        self.pipeline.restart(now_ns)
        self.log.note_crash(*crash)
        return False

    def _on_leave(self, _leave: Leave, now_ns: int) -> bool:
        """Drop everything and exist no more; what is committed has been answered, and comes all the same."""
        self._clock = None
        self._empty(now_ns)
        self._inbox.clear()
        self._sampler.stop()
        beyond_ns = self.pipeline.overrun_ns(now_ns)
        self.log.busy_ns = [busy - over for busy, over in zip(self.pipeline.busy_ns, beyond_ns, strict=True)]
        self.log.left_ns = now_ns
        return False

    def _empty(self, now_ns: int) -> None:
        """Drop everything here, and take a scheduler that has nothing."""
        self._out += self._attempts.drop(now_ns)
        self._steps.clear()
        self._stalls.since_ns, self._stalls.attempts_without_batch = now_ns, 0
        assert self._new_scheduler is not None, "a replica that may die must know how schedulers are built"
        self._scheduler = self._new_scheduler()
        if self._has_all_arrived:
            self._scheduler.drain()
        self._attempts.begin_anew(self._scheduler)
        self._connect()

    _HANDLERS: ClassVar[dict[type, Callable[["Replica", Any, int], bool]]] = {
        Dispatch: _on_dispatch,
        Cancellation: _on_cancellation,
        Withdrawal: _on_cancellation,
        PrefillLeg: _on_prefill_leg,
        Reservation: _on_reservation,
        KvReady: _on_kv_ready,
        Release: _on_release,
        EndOfArrivals: _on_end_of_arrivals,
        Join: _on_join,
        Leave: _on_leave,
        Observe: _on_observe,
        Crash: _on_crash,
    }
    """Takes a message of each type and the time in ns; returns whether a batch may be scheduled now."""

    # ---------------------------------------------------------------------------------------------------------- steps

    def _end_batch(self) -> None:
        steps = self._steps
        end_ns, batch = steps.in_flight.popleft()
        steps.is_planned = steps.planned is not None
        if batch is not None:
            self._scheduler.complete(batch)
        if self._attempts.cancellations.pending:
            self._out += self._attempts.cancel_between(end_ns)
        steps.schedule_ns = end_ns if self._scheduler.has_work() else -1

    def _schedule(self) -> None:
        """Schedule one batch; that it is scheduled is final."""
        steps, scheduler, stalls = self._steps, self._scheduler, self._stalls
        steps.planned, steps.is_planned = None, False
        now_ns = steps.schedule_ns
        batch = scheduler.schedule(now_ns)
        if scheduler.granted:
            self._out += self._legs.granted(scheduler.granted, now_ns)
            scheduler.granted = ()
        if scheduler.begun:
            batch_recording.record_begun(self.log, scheduler, now_ns)
        if batch is None:
            if not scheduler.retry_now or steps.in_flight:
                steps.schedule_ns = scheduler.next_wakeup_ns
            batch_recording.record_preemptions(self.log, scheduler)
            stalls.attempts_without_batch += 1
            stalls.check(now_ns, scheduler, self.waiting_ids)
            return
        batch.scheduled_ns = now_ns
        batch.start_ns, batch.end_ns = self.pipeline.run(batch.shape, now_ns + batch.delay_ns)
        is_lost = self._clock is not None and batch.end_ns > self._clock.crash_ns
        if not is_lost:
            batch_recording.record_batch(self.log, batch)
        if scheduler.has_prefix_cache and batch.prefilled:
            batch_recording.record_lookups(self.log, batch)
        if self.log.preemptions:
            batch_recording.record_preempted_time(batch)
        scheduler.on_scheduled(batch)
        end_ns = batch.end_ns
        if batch.shape.decodes or batch.completed:
            stalls.since_ns, stalls.attempts_without_batch = end_ns, 0
        else:
            stalls.check(now_ns, scheduler, self.waiting_ids)
        for sequence in batch.completed:
            if sequence.first_token_ns < 0:
                sequence.first_token_ns = end_ns
            else:
                sequence.resumed_ns = end_ns
        if is_lost:
            batch_recording.record_lost(self.log, batch)
        elif batch.finishing or batch.prefilled:
            self._responses.report(batch, self._horizon, self._out)
        steps.in_flight.append((end_ns, None if is_lost else batch))
        if len(steps.in_flight) >= steps.depth:
            steps.schedule_ns = -1

    def _fast_forward(self, planned: PlannedDecode, horizon: Instant) -> bool:
        """Commit the planned steps scheduled below ``horizon`` and the next message; False if there are none."""
        inbox, steps = self._inbox.heap, self._steps
        limit = inbox[0].instant if inbox and inbox[0].instant < horizon else horizon
        if self._sampler.barrier < limit:  # noqa: PLR1730 - a call costs five times as much
            limit = self._sampler.barrier
        upto = planned.steps_scheduled_by((limit - 1 - _REPLICA_SCHEDULE) >> KIND_BITS)
        if upto <= planned.offset:
            return False
        scheduler, sampler, in_flight = self._scheduler, self._sampler, steps.in_flight
        if sampler.next_due < limit:
            last_committed = planned.scheduled_ns(upto - 1) << KIND_BITS | _REPLICA_SCHEDULE
            if sampler.next_due < last_committed:
                sampler.sample_during(planned, last_committed, scheduler, self._out)
        finishing = planned.commit(upto, self.pipeline, self.log)
        ends_ns = planned.in_flight_after(upto)
        in_flight.clear()
        for end_ns in ends_ns:
            in_flight.append((end_ns, None))
        self._stalls.since_ns, self._stalls.attempts_without_batch = end_ns, 0
        if finishing:
            self._responses.respond(finishing, end_ns, 0, self._horizon, self._out)
            last = Batch(BatchShape())  # Nobody asks for the shape of batches inside a fast-forward.
            last.end_ns = end_ns
            last.finishing = finishing
            in_flight[-1] = (end_ns, last)
        steps.schedule_ns = -1
        if upto == planned.steps:
            steps.planned, steps.is_planned = None, False
        return True
