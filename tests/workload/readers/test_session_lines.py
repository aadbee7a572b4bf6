"""JSON lines whose rows are turns of sessions: what is used, said, and refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source

GOOD = [
    {"session_id": "a", "timestamp": 1000, "input_length": 9, "output_length": 5},
    {"session_id": "a", "delay": 40, "input_length": 9, "output_length": 5, "group_id": 3},
]


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_what_a_file_means_is_said(trace_file: Callable[..., str], parse: Callable[..., Any]) -> None:
    """The run says what the lengths were taken for, and which fields have no effect."""
    path = trace_file(lines(*GOOD), "t.jsonl")
    notices: list[str] = []
    build_source(parse(kind="trace", path=path), 1, notices)
    assert notices == [
        f"{path}: 1 turn after a first one whose input_length is new tokens, beside the session's history",
        f"{path}: columns not used: group_id",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delay": "soon"}, "line 2, field 'delay': 'soon' is not a number"),
        ({"delay": [5]}, "line 2, field 'delay': '\\[5\\]' is not a number"),
        ({"delay": -1}, "line 2, field 'delay': -1 is not between 0"),
        ({"session_id": ["a"]}, "line 2, field 'session_id': a list where a text or a whole number is expected"),
        ({"session_id": None}, "line 2, field 'delay': needs a session_id"),
        ({"input_length": "9"}, "line 2, field 'input_length': '9' is not a number"),
        ({"output_length": 0}, "line 2: no output tokens; zero_tokens: skip or one"),
        (
            {"timestamp": "2026-01-01T00:00:00Z", "delay": None},
            "line 2, field 'timestamp': dates and numbers are mixed",
        ),
    ],
)
def test_wrong_rows(
    trace_file: Callable[..., str], parse: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    """The message names line and field."""
    path = trace_file(lines(GOOD[0], {**GOOD[1], **change}), "t.jsonl")
    with pytest.raises(InputError, match=message):
        build_source(parse(kind="trace", path=path), 1)


def test_zero_tokens_skip_or_count_as_one(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A skipped turn leaves its session with the others; as one token it stays."""
    rows = [GOOD[0], {**GOOD[1], "output_length": 0}, {**GOOD[1], "delay": 70}]
    section = {"kind": "trace", "path": trace_file(lines(*rows), "t.jsonl")}
    _, skipped = drive({**section, "zero_tokens": "skip"}, service_ns=lambda _: 10**6)
    assert [one.prompt_tokens for one in skipped.requests] == [9, 9 + 5 + 9]
    assert skipped.requests[1].arrival_ns == 71 * 10**6
    _, kept = drive({**section, "zero_tokens": "one"})
    assert [one.output_tokens for one in kept.requests] == [5, 1, 5]


def test_a_session_that_begins_late(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A file that begins as plain requests and has turns of sessions later is refused with the line."""
    plain = {"timestamp": 1, "input_length": 9, "output_length": 5}
    path = trace_file(lines(*[plain] * 2000, {**plain, "delay": 5}), "t.jsonl")
    with pytest.raises(InputError, match="line 2001, field 'delay': makes the row a turn of a session"):
        rows({"kind": "trace", "path": path})


def test_turns_have_no_lengths_to_draw(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Lengths drawn from a trace are those of whole requests."""
    lengths = {"kind": "empirical", "path": trace_file(lines(*GOOD), "t.jsonl")}
    arrivals = {"kind": "poisson", "request_rate": 1}
    with pytest.raises(InputError, match="are turns of sessions, not requests by themselves"):
        rows({"kind": "synthetic", "arrivals": arrivals, "lengths": lengths, "count": 5})


def test_dates_are_times(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Times of ISO 8601, with and without zone, count from the first row; nothing is asked about their unit."""
    row = {"input_length": 9, "output_length": 5}
    times = ["2026-01-01T01:00:00+01:00", "2026-01-01 00:00:00.0015Z", "2026-01-01T00:00:00.002"]
    path = trace_file(lines(*({"timestamp": time, **row} for time in times)), "t.jsonl")
    assert rows({"kind": "trace", "path": path}).arrival_ns.tolist() == [0, 1_500_000, 2_000_000]
    late = lines({"timestamp": "9999-01-01T00:00:00Z", **row})
    with pytest.raises(InputError, match="is outside the years 1680 to 2260"):
        rows({"kind": "trace", "path": trace_file(late, "l.jsonl")})
    with pytest.raises(InputError, match="line 1, field 'timestamp': '12:xx' is neither a number nor a time like"):
        rows({"kind": "trace", "path": trace_file(lines({"timestamp": "12:xx", **row}), "w.jsonl")})
