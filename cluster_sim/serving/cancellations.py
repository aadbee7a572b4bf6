"""Requests whose clients gave up: when they leave the replica, and how that differs from what their rows say.

As in vLLM's engine loop, which reads aborts between two steps: what waits leaves when the cancellation arrives, what
runs when the next batch in flight ends, or its own batch where the scheduler cannot take it out before.  A request
whose last token is formed is past cancelling; its response meets a row that is written.

A row tells no more than when the client gave up, so when its cancellation arrived.  What lies between that and the
departure, either way, is kept in the log as ``cancellation_lag_ns``.
"""

from collections.abc import Iterable

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.messages import Cancellation
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence


class Cancellations:
    """The cancellations of one replica.

    ``late_ns`` is how long after a request's end its cancellation may still arrive, because the response is under way.
    """

    def __init__(self, scheduler: Scheduler, log: ReplicaLog, late_ns: int) -> None:
        self._scheduler = scheduler
        self._log = log
        self._late_ns = late_ns
        self.pending: list[tuple[Cancellation, int]] = []
        """(cancellation, its arrival) of those that have to wait for the end of a batch."""
        self._ends_ns: dict[tuple[int, int], int] = {}
        """Ends of the attempts finished of late, by request id and attempt, in the order of their last steps."""

    def handle(self, cancellation: Cancellation, now_ns: int, *, is_idle: bool) -> None:
        """Take a cancellation that arrives at ``now_ns``; ``is_idle`` if no batch is in flight."""
        if self._scheduler.remove_waiting(cancellation.request_id):
            self._log.leave(now_ns)
            return
        self.pending.append((cancellation, now_ns))
        if is_idle:
            self.retry(now_ns)

    def retry(self, now_ns: int) -> None:
        """Cancel what can be at ``now_ns``, between two batches."""
        pending, self.pending = self.pending, []
        for cancellation, since_ns in pending:
            if self._scheduler.cancel(cancellation.request_id):
                self._log.leave(now_ns)
                self._log.cancellation_lag_ns += now_ns - since_ns
            elif self._scheduler.is_in_flight(cancellation.request_id):
                self.pending.append((cancellation, since_ns))
            else:
                key = (cancellation.request_id, cancellation.attempt)
                self._log.cancellation_lag_ns += self._ends_ns.pop(key, since_ns) - since_ns

    def note_ends(self, finishing: Iterable[Sequence], end_ns: int, now_ns: int) -> None:
        """Note attempts that end at ``end_ns``; nothing below ``now_ns`` is still to come."""
        ends_ns = self._ends_ns
        while ends_ns and ends_ns[first := next(iter(ends_ns))] + self._late_ns < now_ns:
            del ends_ns[first]
        for sequence in finishing:
            ends_ns[sequence.request_id, sequence.attempt] = end_ns

    def finish(self, end_ns: int) -> None:
        """Count what is pending when the run ends at ``end_ns``."""
        self._log.cancellation_lag_ns += sum(end_ns - since_ns for _, since_ns in self.pending)
