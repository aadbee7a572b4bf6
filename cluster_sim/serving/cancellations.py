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

    ``recall_ns`` is for how long after its end a request may still be cancelled, because its response is under way.
    """

    def __init__(self, scheduler: Scheduler, log: ReplicaLog, recall_ns: int) -> None:
        self._scheduler = scheduler
        self._log = log
        self._recall_ns = recall_ns
        self.pending: list[tuple[int, int]] = []
        """(request id, arrival of its cancellation) of those that a batch end must come for."""
        self._ends_ns: dict[int, int] = {}
        """Ends of the requests finished of late, by request id, in the order in which they were formed."""

    def handle(self, cancel: Cancellation, now_ns: int, *, is_idle: bool) -> None:
        """Take a cancellation that arrives at ``now_ns``; ``is_idle`` where no batch is in flight."""
        if self._scheduler.remove_waiting(cancel.request_id):
            self._log.leave(now_ns)
            return
        self.pending.append((cancel.request_id, now_ns))
        if is_idle:
            self.retry(now_ns)

    def retry(self, now_ns: int) -> None:
        """Cancel what can be at ``now_ns``, between two batches."""
        pending, self.pending = self.pending, []
        for request_id, since_ns in pending:
            if self._scheduler.cancel(request_id):
                self._log.leave(now_ns)
                self._log.cancellation_lag_ns += now_ns - since_ns
            elif self._scheduler.is_in_flight(request_id):
                self.pending.append((request_id, since_ns))
            else:
                self._log.cancellation_lag_ns += self._ends_ns.pop(request_id, since_ns) - since_ns

    def remember(self, finishing: Iterable[Sequence], end_ns: int, now_ns: int) -> None:
        """Note requests that end at ``end_ns``; nothing below ``now_ns`` is still to come."""
        ends_ns = self._ends_ns
        while ends_ns and ends_ns[first := next(iter(ends_ns))] + self._recall_ns < now_ns:
            del ends_ns[first]
        for sequence in finishing:
            ends_ns[sequence.request_id] = end_ns

    def cut_off(self, end_ns: int) -> None:
        """Count what is pending when the run ends at ``end_ns``."""
        self._log.cancellation_lag_ns += sum(end_ns - since_ns for _, since_ns in self.pending)
