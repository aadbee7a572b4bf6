"""Source of recorded sessions: a turn starts when the one that it waits for has ended and its delay has passed.

Request ids number all turns in order of the sessions' starts.  A turn's prompt is the history (prompt and output of
the turn before) with its new tokens, or what the file says of the whole prompt.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from cluster_sim.workload.request import Attributes, Request
from cluster_sim.workload.sampling.random_streams import BLOCK
from cluster_sim.workload.sessions.recorded_session import FIRST, RecordedSession, RecordedTurn
from cluster_sim.workload.source import SERVED
from cluster_sim.workload.traits.trait_sampler import fill_prompt

_OUTPUTS: Final = (1 << 43) + (1 << 42)
"""Segments from here on, within the part's range, are outputs and what only one turn holds."""


class RecordedSource:
    """A ``FeedbackSource`` of recorded sessions, in order of their start; ids of segments count from ``base``."""

    def __init__(self, sessions: Sequence[RecordedSession], base: int, *, with_content: bool) -> None:
        self._sessions = sessions
        self._base = base
        self._with_content = with_content
        self._first_ids = [0, *accumulate(len(session.turns) for session in sessions)]
        self._children: list[dict[int, list[int]]] = []
        for session in sessions:
            children: dict[int, list[int]] = {}
            for number, turn in enumerate(session.turns):
                children.setdefault(turn.after, []).append(number)
            self._children.append(children)
        waits = (turn.delay_ns for session in sessions for turn in session.turns if turn.after != FIRST)
        self.think_floor_ns = max(min(waits, default=1), 1)

    def initial(self) -> Iterator[list[Request]]:
        """Yield the turns that wait for no other in order of time."""
        roots = [
            (self._start_ns(number, turn), number, turn)
            for number, children in enumerate(self._children)
            for turn in children.get(FIRST, ())
        ]
        roots.sort()
        for first in range(0, len(roots), BLOCK):
            yield [
                self._request(number, turn, start_ns, None) for start_ns, number, turn in roots[first : first + BLOCK]
            ]

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the turns that waited for this one; a turn that does not finish ends what hangs on it."""
        if status != SERVED:
            return []
        number, turn = request.attributes.session_id - self._base, request.attributes.turn
        following = []
        for child in self._children[number].get(turn, ()):
            recorded = self._sessions[number].turns[child]
            ready_ns = now_ns + max(recorded.delay_ns, self.think_floor_ns)
            start_ns = ready_ns if recorded.start_ns is None else max(ready_ns, recorded.start_ns)
            following.append(self._request(number, child, start_ns, request))
        return following

    def _start_ns(self, number: int, turn: int) -> int:
        session = self._sessions[number]
        start_ns = session.turns[turn].start_ns
        return (session.start_ns or 0) if start_ns is None else start_ns

    def _request(self, number: int, turn: int, arrival_ns: int, before: Request | None) -> Request:
        recorded = self._sessions[number].turns[turn]
        request_id = self._first_ids[number] + turn
        history = 0 if before is None or recorded.is_whole else before.prompt_tokens + before.output_tokens
        prompt = history + recorded.prompt_tokens
        attributes = Attributes(
            session_id=self._base + number,
            turn=turn,
            segments=self._content(recorded, request_id, prompt, before) if self._with_content else (),
            output_segment=self._output(request_id) if self._with_content and self._goes_on(number, turn) else -1,
        )
        return Request(request_id, arrival_ns, prompt, recorded.output_tokens, attributes)

    def _content(
        self, recorded: RecordedTurn, request_id: int, prompt: int, before: Request | None
    ) -> tuple[tuple[int, int], ...]:
        """Return the prompt's content: the history, and the turn's own."""
        if recorded.segments and (recorded.is_whole or before is None):
            return recorded.segments
        history: tuple[tuple[int, int], ...] = ()
        if before is not None:
            history = (*before.attributes.segments, (self._output(before.request_id), before.output_tokens))
        if recorded.segments:
            return (*history, *recorded.segments)
        return fill_prompt(history, prompt, self._output(request_id) + 1)

    def _goes_on(self, number: int, turn: int) -> bool:
        """Return whether a later prompt holds the turn's output."""
        turns = self._sessions[number].turns
        followers = (turns[child] for child in self._children[number].get(turn, ()))
        return any(not (child.is_whole and child.segments) for child in followers)

    def _output(self, request_id: int) -> int:
        return self._base + _OUTPUTS + 2 * request_id

    def snapshot(self) -> Any:
        """Return nothing: the next turns follow from the request that ended."""

    def restore(self, state: Any) -> None:
        """Change nothing."""
