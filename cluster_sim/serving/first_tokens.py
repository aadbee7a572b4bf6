"""First tokens on their way to routers that observe them."""

from collections.abc import Iterable

from cluster_sim.engine.instant import Instant, Kind, instant
from cluster_sim.engine.process import Message
from cluster_sim.serving.lives.return_link import ReturnLink
from cluster_sim.serving.messages import FirstToken
from cluster_sim.serving.sequence import Sequence


class FirstTokens:
    """Attempts at one replica whose first token is not scheduled yet, and the messages about those that are."""

    def __init__(self, source: int, link: ReturnLink, run_end: Instant) -> None:
        self._source = source
        self._link = link
        self._run_end = run_end
        self._awaited: dict[int, Sequence] = {}

    def await_first(self, sequence: Sequence) -> None:
        """Expect a first token of a sequence that has come."""
        self._awaited[sequence.key] = sequence

    def forget(self, key: int) -> None:
        """Expect none any more of an attempt that has left."""
        self._awaited.pop(key, None)

    def clear(self) -> None:
        """Expect none any more: everything here is dropped."""
        self._awaited.clear()

    @property
    def are_awaited(self) -> bool:
        """Whether the first token of some sequence is still to be scheduled."""
        return bool(self._awaited)

    def report(self, completed: Iterable[Sequence], finishing: Iterable[Sequence], end_ns: int) -> Iterable[Message]:
        """Yield the messages about prompts that a batch ending at ``end_ns`` completes.

        A response at the same time says all there is, so none goes with it.
        """
        answered = {sequence.key for sequence in finishing}
        arrival = instant(self._link.arrival_ns(end_ns), Kind.NOTICE)
        for sequence in completed:
            if self._awaited.pop(sequence.key, None) is None or sequence.key in answered or arrival >= self._run_end:
                continue
            first = FirstToken(sequence.request_id, sequence.attempt)
            yield Message(arrival, self._source, sequence.request_id, first)
