"""Guarantees of a replica: how early its next output may come, and how early its sampled state may change.

An output's earliest time (EOT) is conditional if it supposes that nothing more arrives, and unconditional if it holds
whatever arrives.  Both rest on the floors of a step; a planned fast-forward that ends with a completion is exact.
"""

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import OutputTimes
from cluster_sim.serving.fast_forward_planner import FastForwardPlanner
from cluster_sim.serving.handover.messages import KvReady, Reservation
from cluster_sim.serving.inbox import Inbox
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.step_state import StepState


class Guarantees:
    """The guarantees of one replica, which may be asked for at any horizon that it has reached."""

    __slots__ = ("_floors", "_inbox", "_pipeline", "_planner", "_scheduler", "_steps", "_tokens_per_step")

    def __init__(
        self,
        floors: FloorModel,
        tokens_per_step: int,
        inbox: Inbox,
        steps: StepState,
        scheduler: Scheduler,
        pipeline: Pipeline,
        planner: FastForwardPlanner,
    ) -> None:
        self._floors = floors
        self._tokens_per_step = tokens_per_step
        self._inbox = inbox
        self._steps = steps
        self._scheduler = scheduler
        self._pipeline = pipeline
        self._planner = planner

    def output_times(self, horizon: Instant) -> OutputTimes:
        """Return the conditional and the unconditional EOT.

        The conditional one is never if nothing will happen without a message, whatever waits here.
        """
        unconditional = self._unconditional(horizon)
        if not self._inbox.heap:
            if self._steps.is_idle:
                return OutputTimes(NEVER, unconditional)
            planned = self._planner.plan()
            if planned is not None and planned.is_finishing:
                return OutputTimes(instant(planned.last_end_ns, Kind.RESPONSE), unconditional)
        return OutputTimes(unconditional, unconditional)

    def next_change(self, *, is_kv_sampled: bool) -> Instant:
        """Return when running, waiting or, if it is sampled, KV usage may next change without a message."""
        inbox, steps = self._inbox.heap, self._steps
        due = inbox[0].instant if inbox else NEVER
        if steps.is_idle:
            return due
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

    def _unconditional(self, horizon: Instant) -> Instant:
        floors = self._floors
        first_ns = self._next_start_ns(horizon)
        earliest = NEVER
        batches = self._scheduler.fewest_batches()
        if batches:
            earliest = instant(first_ns + floors.cost_ns(batches), Kind.RESPONSE)
        if self._scheduler.hands_over:
            earliest = min(earliest, self._grant(horizon), self._answer_of_arrivals(first_ns))
        for ready_at, dispatch in self._inbox.dispatches():
            if type(dispatch) is Reservation:
                continue
            cost_ns = floors.cost_ns(dispatch.fewest_batches(self._tokens_per_step))
            earliest = min(earliest, instant(max(time_of(ready_at), first_ns) + cost_ns, Kind.RESPONSE))
        return earliest

    def _grant(self, horizon: Instant) -> Instant:
        """Return the earliest grant of blocks to a reservation: at the next attempt to schedule, before any batch."""
        steps = self._steps
        first_ns = time_of(horizon)
        if not steps.has_free_slot:
            first_ns = max(first_ns, steps.in_flight[0][0])
        if self._scheduler.reservations:
            return instant(first_ns, Kind.GRANT)
        reserved = [ready_at for ready_at, dispatch in self._inbox.dispatches() if type(dispatch) is Reservation]
        return instant(max(first_ns, time_of(min(reserved))), Kind.GRANT) if reserved else NEVER

    def _answer_of_arrivals(self, first_ns: int) -> Instant:
        """Return the earliest end of a sequence whose prompt is about to arrive from another replica."""
        ready = [message.instant for message in self._inbox.heap if type(message.payload) is KvReady]
        if not ready:
            return NEVER
        return instant(max(time_of(min(ready)), first_ns) + self._floors.cost_ns(1), Kind.RESPONSE)

    def _next_start_ns(self, horizon: Instant) -> int:
        """Return the earliest start of the next batch to be scheduled."""
        steps = self._steps
        start_ns = max(time_of(horizon), self._pipeline.free_ns[0])
        if self._scheduler.next_wakeup_ns < 0:  # An arrival may well come before a timer and start a batch.
            start_ns = max(start_ns, steps.schedule_ns)
        if not steps.has_free_slot:
            start_ns = max(start_ns, steps.in_flight[0][0])
        return start_ns
