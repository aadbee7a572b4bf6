"""Reports of legs to the router: blocks that are granted, and how far prompts for other replicas are computed."""

from collections.abc import Iterable

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.process import Message
from cluster_sim.serving.handover.legs import Leg
from cluster_sim.serving.handover.messages import Granted, PrefillProgress
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.sequence import Sequence


class LegReports:
    """The reports of one replica."""

    __slots__ = ("_link", "_source")

    def __init__(self, source: int, link: ReturnLink) -> None:
        self._source = source
        self._link = link

    def granted(self, sequences: Iterable[Sequence], now_ns: int) -> list[Message]:
        """Report sequences that have got blocks for prompts computed elsewhere.

        The reports travel at least 1 ns: the hub may be past the kind of a grant at the time of a step.
        """
        arrival = instant(max(self._link.arrival_ns(now_ns), now_ns + 1), Kind.GRANT)
        return [
            Message(
                arrival,
                self._source,
                sequence.request_id,
                Granted(sequence.request_id, sequence.attempt, now_ns, sequence.cached_tokens),
            )
            for sequence in sequences
        ]

    def chunks(self, prefilled: Iterable[tuple[Sequence, int]], end_ns: int, step_ns: int) -> list[Message]:
        """Report the chunks of prefill legs in a batch that do not end their prompts."""
        return [
            self.progress(sequence, end_ns, step_ns)
            for sequence, _ in prefilled
            if sequence.leg == Leg.PREFILL and not sequence.generated
        ]

    def progress(self, sequence: Sequence, end_ns: int, step_ns: int) -> Message:
        """Report how far a prefill leg is computed after a step of ``step_ns`` that ends at ``end_ns``."""
        progress = PrefillProgress(
            sequence.request_id,
            sequence.attempt,
            sequence.computed,
            step_ns,
            bool(sequence.generated),
            sequence.scheduled_ns,
            sequence.cached_tokens,
            sequence.preemptions,
            sequence.restarted_ns,
            sequence.preemption_gaps_ns,
        )
        arrival = instant(self._link.arrival_ns(end_ns), Kind.RESPONSE)
        return Message(arrival, self._source, sequence.request_id, progress)
