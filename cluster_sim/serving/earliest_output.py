"""Guarantees of a replica: how early its next output may come, and how early its sampled state may change.

An output's earliest time (EOT) is conditional if it supposes that nothing more arrives, and unconditional if it holds
whatever arrives.  Both rest on the floors of a step; a planned fast-forward that ends with a completion is exact.

Two kinds of outputs come earlier than responses.  A first token needs one batch where its router observes it.  A
reservation of blocks may be granted when a batch ends or is scheduled or when a message falls due; whatever is not
known here yet and may free blocks, or bring a prefix, is sent with ``batches`` below 0.
"""

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, answer_at, instant, time_of
from cluster_sim.engine.process import OutputTimes
from cluster_sim.serving.fast_forward_planner import FastForwardPlanner
from cluster_sim.serving.first_tokens import FirstTokens
from cluster_sim.serving.handover.messages import KvReady, PrefillLeg, Reservation
from cluster_sim.serving.inbox import Inbox
from cluster_sim.serving.messages import Dispatch
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.step_state import StepState


class Guarantees:
    """The guarantees of one replica, which may be asked for at any horizon that it has reached."""

    __slots__ = (
        "_floors",
        "_inbox",
        "_pipeline",
        "_planner",
        "_return_ns",
        "_scheduler",
        "_steps",
        "_tokens_per_step",
        "first_tokens",
    )

    def __init__(
        self,
        floors: FloorModel,
        tokens_per_step: int,
        inbox: Inbox,
        steps: StepState,
        scheduler: Scheduler,
        pipeline: Pipeline,
        planner: FastForwardPlanner,
        return_ns: int,
        first_tokens: FirstTokens | None,
    ) -> None:
        """``first_tokens`` if the router observes them."""
        self._floors = floors
        self._tokens_per_step = tokens_per_step
        self._inbox = inbox
        self._steps = steps
        self._scheduler = scheduler
        self._pipeline = pipeline
        self._planner = planner
        self._return_ns = return_ns
        self.first_tokens = first_tokens

    def output_times(self, horizon: Instant) -> OutputTimes:
        """Return the conditional and the unconditional EOT.

        The conditional one is never if nothing will happen without a message, whatever waits here.  What a crash to
        come cuts off is never answered.
        """
        owes_answers = self._scheduler.reservations > 0
        unconditional = conditional = self._unconditional(horizon, owes_answers=owes_answers)
        if len(self._inbox.heap) == self._inbox.own:
            steps = self._steps
            if steps.schedule_ns < 0 and not steps.in_flight:
                conditional = NEVER
            elif not owes_answers:
                planned = steps.planned if steps.is_planned else self._planner.plan()
                if planned is not None and planned.is_finishing:
                    conditional = planned.last_end_ns << KIND_BITS | Kind.RESPONSE
        return OutputTimes(conditional, unconditional)

    def awaits_only_a_crash(self) -> bool:
        """Whether nothing is here and nothing has been sent here."""
        if len(self._inbox.heap) > self._inbox.own or not self._steps.is_idle:
            return False
        return not self._scheduler.running_count + self._scheduler.waiting_count

    def next_change(self, *, is_kv_sampled: bool) -> Instant:
        """Return when running, waiting or, if it is sampled, KV usage may next change without a message."""
        inbox, steps = self._inbox.heap, self._steps
        due = inbox[0].instant if inbox else NEVER
        if steps.is_idle:
            # A crash changes nothing where nothing is.
            is_empty = not self._scheduler.running_count + self._scheduler.waiting_count
            return self._inbox.next_sent() if self._inbox.own and is_empty else due
        if not is_kv_sampled:
            planned = self._planner.plan()
            if planned is not None:
                # The batch scheduled next may be the first to preempt, before the run's last batch has ended.
                following_ns, end_ns = planned.scheduled_ns(planned.steps), planned.last_end_ns
                if end_ns <= following_ns:
                    return min(due, instant(end_ns, Kind.BATCH_END))
                return min(due, instant(following_ns, Kind.REPLICA_SCHEDULE))
        if steps.schedule_ns >= 0:
            due = min(due, instant(steps.schedule_ns, Kind.REPLICA_SCHEDULE))
        if steps.in_flight:
            due = min(due, instant(steps.in_flight[0][0], Kind.BATCH_END))
        return due

    def _unconditional(self, horizon: Instant, *, owes_answers: bool) -> Instant:
        floors, inbox = self._floors, self._inbox.heap
        earliest = NEVER
        first_ns = self._next_start_ns(horizon)
        batches = self._scheduler.fewest_batches()
        first_tokens = self.first_tokens
        if batches:
            if first_tokens is not None and first_tokens.are_awaited:
                batches = 1
            earliest = self._answer(first_ns + floors.cost_ns(batches))
        hands_over = bool(inbox) and self._scheduler.hands_over
        for ready_at, _, _, payload in inbox:
            if type(payload) is Dispatch or type(payload) is PrefillLeg:
                batches = 1 if first_tokens is not None else payload.fewest_batches(self._tokens_per_step)
                earliest = min(earliest, self._answer_of(time_of(ready_at), first_ns, floors.cost_ns(batches)))
            elif type(payload) is KvReady:
                earliest = min(earliest, self._answer_of(time_of(ready_at), first_ns, floors.cost_ns(1)))
            if hands_over and (owes_answers or type(payload) is Reservation):
                earliest = min(earliest, self._answer_after(ready_at))
        if owes_answers:
            earliest = min(earliest, self._next_answer())
        return earliest

    def _answer(self, end_ns: int) -> Instant:
        """Return the response of what ends at ``end_ns`` at the earliest; none if that is after the crash to come."""
        clock = self._pipeline.clock
        return instant(end_ns, Kind.RESPONSE) if clock is None or end_ns <= clock.crash_ns else NEVER

    def _answer_of(self, ready_ns: int, first_ns: int, cost_ns: int) -> Instant:
        """Return the earliest response of what becomes ready at ``ready_ns``, if the next batch may start at
        ``first_ns``.
        """
        clock = self._pipeline.clock
        if clock is None or ready_ns < clock.crash_ns:
            return self._answer(max(ready_ns, first_ns) + cost_ns)
        # It comes to a later life, which the batches of this one do not hold up.
        return instant(ready_ns + cost_ns, Kind.RESPONSE)

    def _answer_after(self, moment: Instant) -> Instant:
        """Return the time of an answer without a batch that an event at ``moment`` gives, before the return link."""
        return answer_at(moment, self._return_ns) - instant(self._return_ns, 0)

    def _next_answer(self) -> Instant:
        """Return when the next batch that ends or is scheduled may answer a reservation, before the return link."""
        steps = self._steps
        earliest = NEVER
        if steps.schedule_ns >= 0:
            earliest = self._answer_after(instant(steps.schedule_ns, Kind.REPLICA_SCHEDULE))
        if steps.in_flight:
            earliest = min(earliest, self._answer_after(instant(steps.in_flight[0][0], Kind.BATCH_END)))
        return earliest

    def _next_start_ns(self, horizon: Instant) -> int:
        """Return the earliest start of the next batch to be scheduled."""
        steps, in_flight = self._steps, self._steps.in_flight
        start_ns = max(horizon >> KIND_BITS, self._pipeline.free_ns[0])
        if steps.schedule_ns > start_ns and self._scheduler.next_wakeup_ns < 0:
            start_ns = steps.schedule_ns  # An arrival may well come before a timer and start a batch.
        if len(in_flight) >= steps.depth and in_flight[0][0] > start_ns:
            start_ns = in_flight[0][0]
        return start_ns
