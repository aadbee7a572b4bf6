"""Requests whose clients gave up: when they leave the replica, and how that differs from what their rows say.

As in vLLM's engine loop, which reads aborts between two steps: what waits leaves when the cancellation arrives, what
runs when the next batch in flight ends, or its own batch where the scheduler cannot take it out before.  A request
whose last token is formed is past cancelling; its response meets a row that is written.

A row tells no more than when the client gave up, so when its cancellation arrived.  What lies between that and the
departure, either way, is kept in the log as ``cancellation_lag_ns``.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Cancellation
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence, key_of


class Cancelled(NamedTuple):
    """A cancellation that is dealt with."""

    cancellation: Cancellation
    at_ns: int
    """When it arrived."""
    ends_ns: frozenset[int]
    """Ends of the batches that were in flight then or were scheduled since."""
    ended: Sequence | None = None
    """The sequence, if it was past cancelling."""


class Cancellations:
    """The cancellations of one replica.

    ``late_ns`` is how long after a request's end, or after the outage of ``link`` that holds its response up, its
    cancellation may still arrive.
    """

    def __init__(self, scheduler: Scheduler, log: ReplicaLog, link: ReturnLink, late_ns: int) -> None:
        self._scheduler = scheduler
        self._log = log
        self._link = link
        self._late_ns = late_ns
        self.pending: list[tuple[Cancellation, int, frozenset[int]]] = []
        """(cancellation, its arrival, ends of the batches in flight then) of those that wait for the end of a batch."""
        self._ended: dict[int, tuple[int, Sequence]] = {}
        """Ends of the attempts finished of late, by key, in the order of their last steps."""

    def handle(self, cancellation: Cancellation, now_ns: int, ends_ns: frozenset[int]) -> list[Cancelled]:
        """Take a cancellation that arrives at ``now_ns``, with batches in flight that end at ``ends_ns``; return it
        once it is dealt with.
        """
        if self._scheduler.remove_waiting(key_of(*cancellation)):
            self._log.leave(now_ns)
            return [Cancelled(cancellation, now_ns, ends_ns)]
        self.pending.append((cancellation, now_ns, ends_ns))
        return [] if ends_ns else self.retry(now_ns, ends_ns)

    def retry(self, now_ns: int, ends_ns: frozenset[int]) -> list[Cancelled]:
        """Cancel what can be at ``now_ns``, between two batches, with others in flight; return what is dealt with."""
        pending, self.pending = self.pending, []
        done: list[Cancelled] = []
        for cancellation, since_ns, earlier_ns in pending:
            all_ends_ns = earlier_ns | ends_ns
            key = key_of(*cancellation)
            if self._scheduler.cancel(key):
                self._log.leave(now_ns)
                self._log.cancellation_lag_ns += now_ns - since_ns
                done.append(Cancelled(cancellation, since_ns, all_ends_ns))
            elif self._scheduler.is_in_flight(key):
                self.pending.append((cancellation, since_ns, all_ends_ns))
            else:
                end_ns, ended = self._ended.pop(key, (since_ns, None))
                if end_ns + self._late_ns < since_ns:  # It may be forgotten: how far others have come may not matter.
                    end_ns, ended = since_ns, None
                self._log.cancellation_lag_ns += end_ns - since_ns
                done.append(Cancelled(cancellation, since_ns, all_ends_ns, ended))
        return done

    def drop(self, now_ns: int, ends_ns: frozenset[int]) -> list[Cancelled]:
        """Return what waits for the end of a batch when everything here is dropped at ``now_ns``."""
        pending, self.pending = self.pending, []
        done: list[Cancelled] = []
        for cancellation, since_ns, earlier_ns in pending:
            end_ns, ended = self._ended.pop(key_of(*cancellation), (now_ns, None))
            self._log.cancellation_lag_ns += min(end_ns, now_ns) - since_ns
            done.append(Cancelled(cancellation, since_ns, earlier_ns | ends_ns, ended))
        self._ended = {key: entry for key, entry in self._ended.items() if entry[0] <= now_ns}
        return done

    def use_scheduler(self, scheduler: Scheduler) -> None:
        """Take the scheduler of a new life; what ended before it stays known."""
        self._scheduler = scheduler

    def note_ends(self, finishing: Iterable[Sequence], end_ns: int, now_ns: int) -> None:
        """Note attempts that end at ``end_ns``; nothing below ``now_ns`` is still to come."""
        ended = self._ended
        while ended and not self._is_of_late(first := next(iter(ended)), now_ns):
            del ended[first]
        for sequence in finishing:
            ended[sequence.key] = (end_ns, sequence)

    def ended_of_late(self, now_ns: int) -> list[Sequence]:
        """Return the sequences that have ended and whose cancellations may still be under way at ``now_ns``."""
        return [sequence for key, (_, sequence) in self._ended.items() if self._is_of_late(key, now_ns)]

    def _is_of_late(self, key: int, now_ns: int) -> bool:
        """Return whether the cancellation of an attempt that has ended may arrive at ``now_ns`` or waits for the end of
        a batch.
        """
        last_ns = self._link.sets_out_ns(self._ended[key][0]) + self._late_ns
        return last_ns >= now_ns or any(key_of(*cancellation) == key for cancellation, _, _ in self.pending)

    def finish(self, end_ns: int) -> None:
        """Count what is pending when the run ends at ``end_ns``."""
        self._log.cancellation_lag_ns += sum(end_ns - since_ns for _, since_ns, _ in self.pending)
