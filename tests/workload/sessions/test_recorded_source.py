"""Replay of sessions as a file records them: starts, prompt lengths and content of every turn."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.sessions.recorded_session import FIRST, RecordedSession, RecordedTurn
from cluster_sim.workload.sessions.recorded_source import RecordedSource

MS = 1_000_000
SECOND = 1_000 * MS


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def row(session: str, prompt: int, output: int, **more: Any) -> dict[str, Any]:
    return {"session_id": session, "input_length": prompt, "output_length": output, **more}


def served_in(ms: int) -> Callable[..., int]:
    return lambda _: ms * MS


TWO = lines(
    row("a", 600, 20, timestamp=5000, hash_ids=[1, 2]),
    row("b", 100, 10, timestamp=6000),
    row("a", 50, 7, delay=300, hash_ids=[9]),
    row("a", 40, 5, delay=100),
)


def test_a_turn_follows_the_end_before_by_its_delay(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Served in 200 ms each: a starts at 0, 500 and 800 ms, b at 1 s; prompts are 600, 600+20+50, 670+7+40."""
    section = {"kind": "trace", "path": trace_file(TWO, "t.jsonl")}
    source, driven = drive(section, service_ns=served_in(200))
    assert [(one.request_id, one.arrival_ns // MS, one.prompt_tokens) for one in driven.requests] == [
        (0, 0, 600), (1, 500, 670), (2, 800, 717), (3, 1000, 100),
    ]  # fmt: skip
    assert source.think_floor_ns == 100 * MS
    assert [(one.attributes.session_id, one.attributes.turn) for one in driven.requests] == [
        (0, 0), (0, 1), (0, 2), (1, 0),
    ]  # fmt: skip


def test_the_history_is_the_content_before(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A turn's content is the prompt and the output of the turn before, then its own; each adds up to the prompt."""
    _, driven = drive({"kind": "trace", "path": trace_file(TWO, "t.jsonl")}, service_ns=served_in(200))
    first, second, third, alone = driven.requests
    assert first.attributes.segments == ((1, 512), (2, 88))
    assert second.attributes.segments == (*first.attributes.segments, (first.attributes.output_segment, 20), (9, 50))
    assert third.attributes.segments[:-1] == (*second.attributes.segments, (second.attributes.output_segment, 7))
    assert third.attributes.output_segment == alone.attributes.output_segment == -1, "no later prompt holds them"
    for request in driven.requests:
        assert sum(tokens for _, tokens in request.attributes.segments) == request.prompt_tokens


def test_without_prefixes_lengths_are_the_same(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """``prefixes: false`` says nothing of the content."""
    section = {"kind": "trace", "path": trace_file(TWO, "t.jsonl"), "prefixes": False}
    _, driven = drive(section, service_ns=served_in(200))
    assert [one.prompt_tokens for one in driven.requests] == [600, 670, 717, 100]
    assert all(one.attributes.segments == () for one in driven.requests)


def test_hashes_that_begin_with_those_before_are_whole_prompts(
    trace_file: Callable[..., str], drive: Callable[..., Any]
) -> None:
    """Where hashes carry the history, input_length is the whole prompt; a file that does both is asked about."""
    rows = (
        row("a", 600, 20, timestamp=0, hash_ids=[1, 2]),
        row("a", 1100, 20, timestamp=9000, delay=500, hash_ids=[1, 3, 4]),
    )
    section = {"kind": "trace", "path": trace_file(lines(*rows), "t.jsonl")}
    _, driven = drive(section, service_ns=served_in(200))
    assert [(one.arrival_ns // MS, one.prompt_tokens) for one in driven.requests] == [(0, 600), (700, 1100)]
    assert driven.requests[1].attributes.segments == ((1, 512), (3, 512), (4, 76))
    assert driven.requests[0].attributes.output_segment == -1, "its output is inside the hashes"
    new = {**section, "format": {"kind": "mooncake", "turn_lengths": "new"}}
    assert [one.prompt_tokens for one in drive(new)[1].requests] == [600, 600 + 20 + 1100]
    mixed = lines(*rows, row("b", 600, 1, timestamp=1, hash_ids=[5, 6]), row("b", 600, 1, delay=1, hash_ids=[7, 8]))
    with pytest.raises(InputError, match=r"line 2: the hashes begin with .* but on line 4 they do not"):
        drive({"kind": "trace", "path": trace_file(mixed, "mixed.jsonl")})


def test_a_time_without_a_delay_is_the_earliest_start(
    trace_file: Callable[..., str], drive: Callable[..., Any]
) -> None:
    """A turn with a timestamp starts then, or when the turn before has ended; with neither, at once after it."""
    rows = [row("a", 9, 9, timestamp=1000), row("a", 9, 9, timestamp=1500), row("a", 9, 9, timestamp=4000)]
    path = trace_file(lines(*rows, row("a", 9, 9)), "t.jsonl")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=served_in(2000))
    assert [one.arrival_ns // MS for one in driven.requests] == [0, 2000, 4000, 6000]


def test_a_turn_that_fails_ends_its_session(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """What waits for an unserved turn is never sent."""
    section = {"kind": "trace", "path": trace_file(TWO, "t.jsonl")}
    _, driven = drive(section, status=lambda one: "refused" if one.request_id == 1 else "finished")
    assert sorted(one.request_id for one in driven.requests) == [0, 1, 3]


def test_a_turn_may_wait_for_any_other() -> None:
    """Two calls hang on the first one and start by their own delays; none holds the other's output."""
    turns = [RecordedTurn(10, 5), RecordedTurn(3, 1, delay_ns=7, after=0), RecordedTurn(4, 1, delay_ns=9, after=0)]
    source = RecordedSource([RecordedSession(0, turns)], 0, with_content=True)
    ((root,),) = source.initial()
    assert turns[0].after == FIRST
    second, third = source.on_end(root, 100, "finished")
    assert [(one.arrival_ns, one.prompt_tokens) for one in (second, third)] == [(107, 18), (109, 19)]
    assert source.on_end(second, 200, "finished") == []
