"""Calls of a session with recorded starts and ends: which one each waited for, and how long."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from cluster_sim.workload.sessions.recorded_session import FIRST, RecordedTurn


@dataclass(slots=True)
class RecordedCall:
    """One call of a session as it was recorded."""

    start_ns: int
    end_ns: int
    turn: RecordedTurn


def link_calls(calls: Sequence[RecordedCall]) -> list[RecordedTurn]:
    """Return the turns of calls in order of their start, each waiting for the call that had ended last before it.

    The time from that end to the start stays as the delay; a call before any has ended starts at its own time.
    """
    running: list[tuple[int, int]] = []
    ended = (0, FIRST)
    for index, call in enumerate(calls):
        while running and running[0][0] <= call.start_ns:
            ended = max(ended, heapq.heappop(running)) if ended[1] != FIRST else heapq.heappop(running)
        end_ns, call.turn.after = ended
        if call.turn.after == FIRST:
            call.turn.start_ns = call.start_ns
        else:
            call.turn.delay_ns = call.start_ns - end_ns
        heapq.heappush(running, (max(call.end_ns, call.start_ns), index))
    return [call.turn for call in calls]
