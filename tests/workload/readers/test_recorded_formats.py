"""Conversations and calls as agents' traces record them: Weka, OpenTelemetry, prompts as texts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source
from cluster_sim.workload.readers.recorded_calls import RecordedCall, link_calls
from cluster_sim.workload.sessions.recorded_session import RecordedTurn

MS = 1_000_000


def turns_of(driven: Any) -> list[tuple[int, int, int]]:
    return [(one.arrival_ns // MS, one.prompt_tokens, one.output_tokens) for one in driven.requests]


def test_calls_wait_for_the_one_that_ended_last() -> None:
    """Calls at 0-10, 2-5, 12-20, 15-16: the third waits 2 after the first, the fourth, inside it, 5 after the first."""
    spans = ((0, 10), (2, 5), (12, 20), (15, 16))
    turns = link_calls([RecordedCall(start, end, RecordedTurn(1, 1)) for start, end in spans])
    assert [(turn.after, turn.delay_ns, turn.start_ns) for turn in turns] == [
        (-1, 0, 0), (-1, 0, 2), (0, 2, None), (0, 5, None),
    ]  # fmt: skip


WEKA: dict[str, Any] = {
    "id": "a",
    "block_size": 64,
    "requests": [
        {"t": 10.0, "in": 128, "out": 32, "hash_ids": [1, 2], "api_time": 1.5},
        {"t": 14.0, "in": 200, "out": 8, "hash_ids": [1, 2, 3], "api_time": 1.0},
    ],
}


def test_weka_conversations(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """The second call starts 14 - 11.5 = 2.5 s after the first has ended; prompts and blocks are the file's."""
    alone = {"id": "b", "block_size": 64, "requests": [{"t": 11.0, "in": 64, "out": 4, "hash_ids": [9]}]}
    path = trace_file(json.dumps(WEKA) + "\n" + json.dumps(alone), "w.jsonl")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 700 * MS)
    assert turns_of(driven) == [(0, 128, 32), (1000, 64, 4), (3200, 200, 8)]
    first, _, second = (one.attributes.segments for one in driven.requests)
    assert first == ((1, 64), (2, 64))
    assert second == ((1, 64), (2, 64), (3, 64), (second[-1][0], 8))


def test_weka_think_times_and_scopes(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Without ends, the think time of the call before is the delay; hashes of local scope are shared by nobody else."""
    rows = [{**row, "think_time": 3.0} for row in WEKA["requests"]]
    for row in rows:
        del row["api_time"]
    local = {**WEKA, "requests": rows, "hash_id_scope": "local"}
    path = trace_file(json.dumps(local) + "\n" + json.dumps({**local, "id": "b"}), "w.jsonl")
    notices: list[str] = []
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 500 * MS)
    assert [one.arrival_ns // MS for one in driven.requests] == [0, 0, 3500, 3500]
    one, other, again, _ = (request.attributes.segments for request in driven.requests)
    assert again[:2] == one[:2]
    assert set(one).isdisjoint(other)
    section = driven_notices(path, notices)
    assert section[0].startswith(f"{path}: all 2 sessions start at once")


def driven_notices(path: str, notices: list[str]) -> list[str]:
    from tests.workload.conftest import parse

    build_source(parse(kind="trace", path=path), 1, notices)
    return notices


def test_weka_subagents(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A subagent's calls stand in the conversation at their own times, also where these count from its start."""
    inner = [{"t": 0.5, "in": 64, "out": 4, "api_time": 1.0}]
    agent = {"t": 12.0, "type": "subagent", "requests": inner}
    path = trace_file(json.dumps({**WEKA, "requests": [WEKA["requests"][0], agent, WEKA["requests"][1]]}), "w.json")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 1000 * MS)
    assert turns_of(driven) == [(0, 128, 32), (2000, 64, 4), (3500, 200, 8)]


def test_a_weka_conversation_is_there_once(trace_file: Callable[..., str], parse: Callable[..., Any]) -> None:
    """A file written twice over is not twice the load."""
    path = trace_file(f"{json.dumps(WEKA)}\n{json.dumps(WEKA)}", "w.jsonl")
    with pytest.raises(InputError, match="line 2, field 'id': 'a' is there twice"):
        build_source(parse(kind="trace", path=path), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_size": "64"}, "line 1, field 'block_size': '64' is not a number"),
        ({"requests": {"t": 0}}, "line 1, field 'requests': a object where a list is expected"),
        ({"requests": [5]}, "line 1, field 'requests': a number where an object is expected"),
        ({"requests": [{"t": 0, "out": 3}]}, "line 1, field 'in': is missing; there are: t, out"),
        ({"requests": [{"t": 0, "in": 64, "out": 3, "hash_ids": [1, 2, 3]}]}, "3 hashes of 64 tokens do not cover"),
        ({"requests": [{"t": 0, "in": 64, "out": 3, "hash_ids": "abc"}]}, "field 'hash_ids'"),
        ({"requests": [{"t": 0, "in": 64, "out": 0}]}, "line 1: no output tokens; zero_tokens: skip or one"),
    ],
)
def test_wrong_weka_files(
    trace_file: Callable[..., str], parse: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    """The message names line and field."""
    path = trace_file(json.dumps({**WEKA, **change}), "w.jsonl")
    with pytest.raises(InputError, match=message):
        build_source(parse(kind="trace", path=path), 1)


def span(start: float, end: float, asked: list[str], answer: str) -> dict[str, Any]:
    messages = json.dumps([{"role": "user", "content": text} for text in asked])
    return {
        "trace_id": "t",
        "start_time": f"2026-02-25T10:00:{start:09.6f}",
        "end_time": f"2026-02-25T10:00:{end:09.6f}",
        "attributes": {"gen_ai.input.messages": messages, "gen_ai.output.text": answer},
    }


def test_otel_spans_with_texts(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Lengths are a quarter of the characters; the second prompt carries the first and its answer."""
    spans = [
        span(0, 2, ["x" * 40], "y" * 20),
        span(2.5, 4, ["x" * 40, "y" * 20, "z" * 8], "a" * 4),
        span(5, 6, ["other" * 4], "b" * 8),
    ]
    other = {"trace_id": "t", "start_time": "2026-02-25T10:00:01", "end_time": "2026-02-25T10:00:02", "attributes": {}}
    path = trace_file(json.dumps({"trace_id": "t", "spans": [*spans, other]}, indent=1), "o.json")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 1000 * MS)
    assert turns_of(driven) == [(0, 10, 5), (1500, 17, 1), (3500, 5, 2)]
    first, second, third = (one.attributes for one in driven.requests)
    assert second.segments[:2] == (*first.segments, (first.output_segment, 5))
    assert {one for one, _ in third.segments}.isdisjoint(one for one, _ in second.segments)


def test_otel_otlp_with_usage(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """OTLP's own layout, with token counts: nothing is estimated, and a longer prompt is taken to carry the history."""

    def otlp(start: int, end: int, prompt: int, output: int) -> dict[str, Any]:
        counts = {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": output}
        attributes = [{"key": key, "value": {"intValue": str(count)}} for key, count in counts.items()]
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(end)}
        return {"traceId": "t", "spanId": str(start), **times, "attributes": attributes}

    begin = 1_772_000_000_000_000_000
    spans = [otlp(begin, begin + 10**9, 100, 20), otlp(begin + 2 * 10**9, begin + 3 * 10**9, 150, 5)]
    path = trace_file(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}), "o.json")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 100 * MS)
    assert turns_of(driven) == [(0, 100, 20), (1100, 150, 5)]
    first, second = (one.attributes for one in driven.requests)
    assert second.segments[:2] == (*first.segments, (first.output_segment, 20))


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ({"a": 1}, "field 'spans': a object where a list is expected"),
        (
            [{"attributes": {"gen_ai.usage.input_tokens": 5}}],
            "line 5, field 'start_time': is missing|field 'start_time'",
        ),
        ([{**span(2, 1, ["x"], "y")}], "the span ends before it starts"),
        ([{**span(1, 2, ["x"], "y"), "start_time": "soon"}], "'soon' is neither a number nor a time"),
        ([{**span(1, 2, ["x"], "y"), "span_id": "s"}] * 2, "field 'span_id': the span 's' is there twice"),
        (
            [{**span(1, 2, ["x"], "y"), "attributes": {"gen_ai.usage.input_tokens": [5]}}],
            "line 9, field 'gen_ai.usage.input_tokens': '.5.' is not a whole number of tokens",
        ),
        ([{**span(1, 2, ["x"], "y"), "attributes": "many"}], "a text where an object or a list is expected"),
    ],
)
def test_wrong_otel_files(trace_file: Callable[..., str], parse: Callable[..., Any], spans: Any, message: str) -> None:
    """The message names the field; a second document after the first has its line."""
    text = json.dumps({"trace_id": "t", "spans": spans}, indent=1)
    with pytest.raises(InputError, match=message):
        build_source(parse(kind="trace", path=trace_file(text, "o.json")), 1)
    good = json.dumps({"trace_id": "t", "spans": [span(0, 2, ["x"], "y")]}, indent=1)
    two = trace_file(good + "\n" + good, "two.json")
    with pytest.raises(InputError, match=f"line {good.count(chr(10)) + 2}: a second JSON document begins here"):
        build_source(parse(kind="trace", path=two), 1)


PROMPTS = [
    {"session_id": "a", "turns": [{"text": "x" * 40, "output_length": 5},
                                  {"text": "y" * 8, "output_length": 6, "delay": 250}]},
    {"messages": [{"role": "system", "content": "x" * 4}, {"role": "user", "content": [{"text": "abcd"}]},
                  {"role": "assistant", "content": "z" * 12}]},
    {"prompt": "w" * 4, "max_tokens": 9},
]  # fmt: skip


def test_prompts_as_texts(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A turn adds its text to the history; messages are the whole prompt, their last answer the output."""
    path = trace_file("\n".join(json.dumps(row) for row in PROMPTS), "p.jsonl")
    section = {"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 1}}
    _, driven = drive(section, service_ns=lambda _: 500 * MS)
    assert turns_of(driven) == [(1000, 10, 5), (1750, 10 + 5 + 2, 6), (2000, 2, 3), (3000, 1, 9)]


def test_requests_as_they_are_sent(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A payload holds the prompt and the limit of the answer; times are ms."""
    rows = [{"payload": {"prompt": "x" * 12, "max_tokens": 5}, "timestamp": time} for time in (40, 140)]
    path = trace_file("\n".join(json.dumps(row) for row in rows), "p.jsonl")
    assert turns_of(drive({"kind": "trace", "path": path})[1]) == [(0, 3, 5), (100, 3, 5)]


def test_inputs_of_aiperf(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """The payloads of a session follow one another, each a whole prompt."""
    asked = [[{"role": "user", "content": "x" * size}] for size in (8, 40)]
    payloads = [{"messages": messages, "max_completion_tokens": 3} for messages in asked]
    path = trace_file(json.dumps({"data": [{"session_id": "s", "payloads": payloads}]}, indent=2), "inputs.json")
    arrivals = {"kind": "constant", "request_rate": 1}
    _, driven = drive({"kind": "trace", "path": path, "arrivals": arrivals}, service_ns=lambda _: 500 * MS)
    assert [(one.arrival_ns // MS, one.prompt_tokens) for one in driven.requests] == [(1000, 2), (1500, 10)]


def test_prompts_without_an_answer(trace_file: Callable[..., str], parse: Callable[..., Any]) -> None:
    """How long an answer is must come from somewhere; the format's option says it for all."""
    path = trace_file('{"prompt": "Hello"}\n', "p.jsonl")
    section = {"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 1}}
    with pytest.raises(InputError, match=r"line 1: none of output_length, .* says how long the answer is"):
        build_source(parse(**section), 1)
    build_source(parse(**section, format={"kind": "prompts", "output_tokens": 5}), 1)
    wrong = trace_file('{"prompt": 5, "max_tokens": 4}\n', "w.jsonl")
    with pytest.raises(InputError, match="line 1, field 'prompt': a number where a text is expected"):
        build_source(parse(**{**section, "path": wrong}), 1)
