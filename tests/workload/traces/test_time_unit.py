"""The unit of a trace's times: asked about where only another one makes sense."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError

VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
CHATS = """\
{"chat_id": 1, "parent_chat_id": -1, "timestamp": 7, "input_length": 9, "output_length": 5}
{"chat_id": 2, "parent_chat_id": 1, "timestamp": 8.25, "input_length": 9, "output_length": 5}
"""


def lines(times: list[float]) -> str:
    return "\n".join(json.dumps({"timestamp": time, "input_length": 9, "output_length": 5}) for time in times)


@pytest.mark.parametrize("times", [[7.0 + step / 4 for step in range(40)], list(range(0, 60, 2))])
def test_seconds_read_as_milliseconds(
    trace_file: Callable[..., str], rows: Callable[..., Any], times: list[float]
) -> None:
    """Four or half a request a second would be 4,000 or 500: refused with both; a unit that is named is taken."""
    section = {"kind": "trace", "path": trace_file(lines(times), "t.jsonl")}
    with pytest.raises(InputError, match=r"the unit of time is in doubt: .* timestamp_unit_s: 1 or 0.001"):
        rows(section)
    gap_s = times[1] - times[0]
    assert rows({**section, "timestamp_unit_s": 1}).arrival_ns[1] == gap_s * 1e9
    assert rows({**section, "timestamp_unit_s": 0.001}).arrival_ns[1] == gap_s * 1e6
    assert rows({**section, "format": "timed_trace"}).arrival_ns[1] == gap_s * 1e9


def test_milliseconds_read_as_seconds(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """One whole number every 1,000 would be a request every quarter of an hour."""
    path = trace_file(VIDUR + "".join(f"{1000 * step},9,5\n" for step in range(20)))
    with pytest.raises(InputError, match="at 1 per second if they are in milliseconds"):
        rows({"kind": "trace", "path": path})
    assert rows({"kind": "trace", "path": path, "timestamp_unit_s": 0.001}).arrival_ns[1] == 1_000_000_000


def test_usual_rates_are_not_asked_about(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Milliseconds at ten a second, seconds at one a minute, and a few rows of any rate are what they are."""
    assert len(rows({"kind": "trace", "path": trace_file(lines(list(range(0, 9000, 100))), "t.jsonl")})) == 90
    assert len(rows({"kind": "trace", "path": trace_file(lines([0, 1, 2, 3]), "u.jsonl")})) == 4
    path = trace_file(VIDUR + "".join(f"{60 * step},9,5\n" for step in range(20)))
    assert len(rows({"kind": "trace", "path": path})) == 20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.csv", VIDUR + "1700000000.25,9,5\n1700000001.5,9,5\n"),
        ("b.csv", "Timestamp,Model,Request tokens,Response tokens\n100,a,9,5\n101.25,a,9,5\n"),
        ("m.jsonl", lines([1_700_000_000_000, 1_700_000_001_250])),
        ("c.jsonl", CHATS),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,1,1\n2023-11-16 18:00:01.25,2,2\n"),
    ],
)  # fmt: skip
def test_the_first_row_is_time_0_in_every_format(
    trace_file: Callable[..., str], rows: Callable[..., Any], name: str, content: str
) -> None:
    """Whatever instant a file begins at, its first request arrives at 0 and the second 1.25 s later."""
    assert rows({"kind": "trace", "path": trace_file(content, name)}).arrival_ns.tolist() == [0, 1_250_000_000]
