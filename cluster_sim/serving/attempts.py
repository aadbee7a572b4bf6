"""Attempts at a replica: those that have not been answered, and how each ends that never is.

An attempt that ends without an answer leaves a departure for its row: when its client has given up, when a crash or the
replica's own end drops it, or when the run ends first.
"""

from cluster_sim.engine.process import Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.cancellations import Cancellations, Cancelled
from cluster_sim.serving.departures import DepartureReport
from cluster_sim.serving.first_tokens import FirstTokens
from cluster_sim.serving.inbox import Inbox
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Cancellation, Withdrawal
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence, key_of
from cluster_sim.serving.step_state import StepState


class Attempts:
    """The attempts at one replica, from the scheduler's inbox to their answers."""

    def __init__(
        self,
        scheduler: Scheduler,
        log: ReplicaLog,
        inbox: Inbox,
        steps: StepState,
        link: ReturnLink,
        departures: DepartureReport,
        first_tokens: FirstTokens | None,
        late_ns: int,
    ) -> None:
        """``late_ns`` is how long after a request's end its cancellation may still arrive."""
        self._scheduler = scheduler
        self._log = log
        self._inbox = inbox
        self._steps = steps
        self._departures = departures
        self.first_tokens = first_tokens
        """Those that the router observes, if it does."""
        self.cancellations = Cancellations(scheduler, log, link, late_ns)
        self.open: dict[int, Sequence] = {}
        """The sequences that have not been answered, by key."""
        self._withdrawn: set[int] = set()
        """Keys of those that have been withdrawn and not left: how far they had come is reported."""
        self.overdue: list[Sequence] = []
        """Those whose answers come after the end of the run."""

    def accept(self, sequence: Sequence) -> None:
        """Take in a sequence that has come."""
        request_id, attempt = sequence.request_id, sequence.attempt
        if attempt and any(key_of(request_id, earlier) in self.open for earlier in range(attempt)):
            sequence.own_output = sequence.key
        self.open[sequence.key] = sequence
        if self.first_tokens is not None:
            self.first_tokens.await_first(sequence)

    def cancel(self, cancellation: Cancellation | Withdrawal, now_ns: int) -> list[Message]:
        """Cancel an attempt wherever it is: see ``Cancellations``; at the API server it is dropped at once."""
        if isinstance(cancellation, Withdrawal):
            return self._withdraw(Cancellation(*cancellation), now_ns)
        delivered = self._inbox.withdraw(*cancellation)
        if delivered is None:
            return self._depart(self.cancellations.handle(cancellation, now_ns, self._ends_in_flight()))
        delivered_ns, dispatch = delivered
        self._log.enter(delivered_ns)
        self._log.leave(now_ns)
        return [self._departures.of_unseen(dispatch, now_ns)]

    def _withdraw(self, cancellation: Cancellation, now_ns: int) -> list[Message]:
        """Cancel an attempt, and report at once how far it has come; leave one that is answered already."""
        sequence = self.open.get(key_of(*cancellation))
        if sequence is None:
            delivered = self._inbox.has_undelivered(*cancellation)
            return self.cancel(cancellation, now_ns) if delivered else []
        self._scheduler.write_back()
        report = self._departures.of(sequence, now_ns, self._ends_in_flight())
        self._withdrawn.add(sequence.key)
        return [report, *self.cancel(cancellation, now_ns)]

    def cancel_between(self, end_ns: int) -> list[Message]:
        """Cancel at the end of a batch what waits for one."""
        return self._depart(self.cancellations.retry(end_ns, self._ends_in_flight() | {end_ns}))

    def drop(self, now_ns: int) -> list[Message]:
        """Drop every attempt that has been delivered by ``now_ns``, whatever is in flight."""
        log, ends_ns = self._log, self._ends_in_flight()
        self._scheduler.write_back()
        for end_ns, batch in self._steps.in_flight:
            for sequence in batch.finishing if batch is not None else ():  # Answered ahead of time.
                log.stay(end_ns)
                self.open[sequence.key] = sequence
        for _ in self.open:
            log.leave(now_ns)
        self.overdue = [sequence for sequence in self.overdue if sequence.key not in self.open]
        out = self._depart(self.cancellations.drop(now_ns, ends_ns))
        out += [
            self._departures.of(sequence, now_ns, ends_ns)
            for key, sequence in self.open.items()
            if key not in self._withdrawn
        ]
        self.open.clear()
        self._withdrawn.clear()
        if self.first_tokens is not None:
            self.first_tokens.clear()
        for delivered_ns, dispatch in self._inbox.drop_delivered(now_ns):
            log.enter(delivered_ns)
            log.leave(now_ns)
            out.append(self._departures.of_unseen(dispatch, now_ns))
        return out

    def begin_anew(self, scheduler: Scheduler) -> None:
        """Take the scheduler of a new life."""
        self._scheduler = scheduler
        self.cancellations.use_scheduler(scheduler)

    def unanswered(self, end_ns: int) -> list[Message]:
        """Report how far everything has come that is here when the run ends, where no response arrives in time, and
        what ended of late: its client may have given up.
        """
        sequences = [*self.open.values(), *self.overdue, *self.cancellations.ended_of_late(end_ns)]
        self.open.clear()
        self.overdue.clear()
        self._scheduler.write_back()
        ends_ns = self._ends_in_flight()
        return [self._departures.of(sequence, end_ns, ends_ns) for sequence in sequences]

    def _ends_in_flight(self) -> frozenset[int]:
        return frozenset(end_ns for end_ns, _ in self._steps.in_flight)

    def _depart(self, cancelled: list[Cancelled]) -> list[Message]:
        """Report how far cancelled attempts had come."""
        out: list[Message] = []
        for cancellation, at_ns, ends_ns, ended in cancelled:
            key = key_of(*cancellation)
            is_open = self.open.pop(key, None)
            sequence = ended or is_open
            if self.first_tokens is not None:
                self.first_tokens.forget(key)
            if key in self._withdrawn:
                self._withdrawn.discard(key)
            elif sequence is not None:  # Otherwise it ended long before, and its response has told all there is.
                out.append(self._departures.of(sequence, at_ns, ends_ns))
        return out
