"""Agentic sessions: graphs of calls."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.workload.sections import AGENT, by_session


def test_agentic_sessions_follow_their_graph(drive: Callable[..., Any]) -> None:
    """A call starts when all its parents have ended and its wait is over; all sessions end; joins carry all outputs."""
    source, driven = drive(AGENT)
    assert (source.started, source.completed, source.broken, source.active) == (100, 100, 0, 0)
    branches = Counter()
    for calls in by_session(driven.requests).values():
        slots = {one.attributes.turn: one for one in calls}
        assert min(slots) == 0
        tools = [slot for slot in slots if 1 <= slot <= 16]
        branches[len(tools)] += 1
        last = max(slots)
        answer = slots[last]
        last_end = max(driven.ends[one.request_id] for one in calls if one is not answer)
        assert answer.arrival_ns == last_end + source.think_floor_ns
        for slot in tools:
            assert slots[slot].arrival_ns >= driven.ends[slots[0].request_id] + source.think_floor_ns
            assert slots[slot].attributes.segments[0] == slots[0].attributes.segments[0]
            assert slots[slot].attributes.segments[1] == (slots[0].attributes.output_segment, slots[0].output_tokens)
        for one in calls:
            assert one.prompt_tokens == sum(tokens for _, tokens in one.attributes.segments)
        carried = {segment for segment, _ in answer.attributes.segments}
        heads = [slot for slot in slots if 16 < slot < last] or tools
        assert all(slots[slot].attributes.output_segment in carried for slot in heads)
    assert sorted(branches) == [1, 2, 3, 4]


def test_agentic_sessions_break_when_a_call_fails(drive: Callable[..., Any]) -> None:
    """After a failed call nothing more is started, and the session is accounted for."""
    source, driven = drive(AGENT, status=lambda one: "failed" if one.request_id % 3 == 0 else "finished")
    assert source.completed + source.broken == 100
    assert source.active == 0
    broken = 0
    for calls in by_session(driven.requests).values():
        failed = [one.attributes.turn for one in calls if one.request_id % 3 == 0]
        broken += bool(failed)
        if failed:
            assert max(one.attributes.turn for one in calls) <= (0 if 0 in failed else 16 if min(failed) <= 16 else 18)
            assert not (17 in failed and any(one.attributes.turn == 18 for one in calls))
    assert source.broken == broken > 0
