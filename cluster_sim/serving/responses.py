"""Responses of a replica: the messages to the router that follow from a batch, once it is scheduled.

A batch is committed when it is scheduled, so all of them leave before it has ended, with the time of its end.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final

from cluster_sim.engine.instant import KIND_BITS, Instant, Kind, time_of
from cluster_sim.engine.process import Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.serving.attempts import Attempts
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.handover.leg_reports import LegReports
from cluster_sim.serving.handover.legs import Leg
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import Response
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.step_state import StepState

_RESPONSE: Final = Kind.RESPONSE
_new_response: Final = partial(tuple.__new__, Response)
_new_message: Final = partial(tuple.__new__, Message)
"""What every request needs, at half the price of calling the types."""


class Responses:
    """The responses of one replica.  It joins other parts and has no state of its own."""

    __slots__ = (
        "_attempts",
        "_legs",
        "_link",
        "_log",
        "_notes_ends",
        "_reports_chunks",
        "_run_end",
        "_source",
        "_steps",
    )

    def __init__(
        self,
        settings: ReplicaSettings,
        log: ReplicaLog,
        steps: StepState,
        attempts: Attempts,
        legs: LegReports,
        link: ReturnLink,
    ) -> None:
        self._source = settings.index + 1
        self._run_end = settings.run_end
        self._reports_chunks = settings.reports_chunks
        self._notes_ends = settings.late_cancellation_ns is not None
        self._log = log
        self._steps = steps
        self._attempts = attempts
        self._legs = legs
        self._link = link

    def report(self, batch: Batch, horizon: Instant, out: list[Message]) -> None:
        """Add what comes of a scheduled batch to ``out``: chunks, first tokens and responses."""
        end_ns, step_ns = batch.end_ns, batch.end_ns - batch.start_ns
        if self._reports_chunks:
            out.extend(self._legs.chunks(batch.prefilled, end_ns, step_ns))
        first_tokens = self._attempts.first_tokens
        if first_tokens is not None:
            out.extend(first_tokens.report(batch.completed, batch.finishing, end_ns))
        if batch.finishing:
            self.respond(batch.finishing, end_ns, step_ns, horizon, out)

    def respond(
        self, finishing: Iterable[Sequence], end_ns: int, step_ns: int, horizon: Instant, out: list[Message]
    ) -> None:
        """Add the responses of sequences to ``out`` whose last token comes at ``end_ns``, of a step of ``step_ns``."""
        self._steps.finishing_ns = end_ns
        link, attempts, log = self._link, self._attempts, self._log
        return_ns = link.return_ns if link.outages is None else -1
        finish_ns = end_ns + return_ns if return_ns >= 0 else link.arrival_ns(end_ns)
        arrival = finish_ns << KIND_BITS | _RESPONSE
        is_in_time = arrival < self._run_end
        for sequence in finishing:
            sequence.last_token_ns = end_ns
            del attempts.open[sequence.key]
            if not is_in_time:
                attempts.overdue.append(sequence)
            log.leave(end_ns)
            if sequence.leg == Leg.PREFILL:
                out.append(self._legs.progress(sequence, end_ns, step_ns))
                continue
            began_ns = sequence.first_token_ns
            began_ns = began_ns + return_ns if return_ns >= 0 else link.arrival_ns(began_ns)
            response = _new_response(
                (
                    sequence.request_id,
                    sequence.attempt,
                    FINISHED,
                    sequence.scheduled_ns,
                    began_ns,
                    finish_ns,
                    sequence.cached_tokens,
                    sequence.preemptions,
                    sequence.preempted_ns,
                    sequence.restarted_ns,
                    sequence.preemption_gaps_ns,
                    sequence.rank,
                )
            )
            out.append(_new_message((arrival, self._source, sequence.request_id, response)))
        if self._notes_ends:
            attempts.cancellations.note_ends(finishing, end_ns, time_of(horizon))
