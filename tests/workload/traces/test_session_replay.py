"""Windows, scales and new starts of recorded sessions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source, reacts

MS = 1_000_000


def sessions(*starts: float | None) -> str:
    rows: list[dict[str, Any]] = []
    for number, start in enumerate(starts):
        first = {} if start is None else {"timestamp": start}
        rows.append({"session_id": number, "input_length": 10 + number, "output_length": 1, **first})
        rows.append({"session_id": number, "input_length": 1, "output_length": 1, "delay": 5})
    return "\n".join(json.dumps(row) for row in rows)


def first_turns(driven: Any) -> list[tuple[int, int]]:
    return [(one.arrival_ns // MS, one.prompt_tokens) for one in driven.requests if one.attributes.turn == 0]


def test_the_earliest_start_is_time_0(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Sessions come in order of their start, counted from the earliest; strict refuses another order."""
    section = {"kind": "trace", "path": trace_file(sessions(5000, 3000), "t.jsonl")}
    assert first_turns(drive(section)[1]) == [(0, 11), (2000, 10)]
    with pytest.raises(InputError, match="not in order of their start"):
        drive({**section, "strict": True})


def test_windows_scales_and_rates(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A window takes sessions by their start, ``first`` counts them; starts are scaled, delays are not."""
    section = {"kind": "trace", "path": trace_file(sessions(1000, 2000, 4000), "t.jsonl")}
    assert first_turns(drive({**section, "start_s": 1, "end_s": 3})[1]) == [(0, 11)]
    assert first_turns(drive({**section, "first": 2})[1]) == [(0, 10), (1000, 11)]
    _, driven = drive({**section, "time_scale": 0.1}, service_ns=lambda _: MS)
    assert first_turns(driven) == [(0, 10), (100, 11), (300, 12)]
    assert driven.requests[1].arrival_ns == 6 * MS
    _, driven = drive({**section, "request_rate": 10})
    assert first_turns(driven)[-1][0] == pytest.approx(500, abs=1), "six requests at ten a second take five gaps"
    assert first_turns(drive({**section, "request_rate": float("inf")})[1]) == [(0, 10), (0, 11), (0, 12)]
    with pytest.raises(InputError, match="no session starts in the window"):
        drive({**section, "start_s": 99})


def test_sessions_without_times_need_arrivals(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Arrivals start the sessions; a file where only some have a time is refused."""
    section = {"kind": "trace", "path": trace_file(sessions(None, None), "t.jsonl")}
    with pytest.raises(InputError, match=r"no arrival times; give workload\.arrivals"):
        drive(section)
    _, driven = drive({**section, "arrivals": {"kind": "constant", "request_rate": 2}})
    assert first_turns(driven) == [(500, 10), (1000, 11)]
    with pytest.raises(InputError, match="line 3: the session's first row has no time, as 1 of 2"):
        drive({"kind": "trace", "path": trace_file(sessions(1, None), "t.jsonl")})


@pytest.mark.parametrize(
    "option",
    [
        {"bootstrap": {"count": 5}},
        {"clip": {"max_prompt_tokens": 5}},
        {"max_concurrency": 3},
        {"traits": {"tenant": "a"}},
    ],
)
def test_options_for_plain_rows_are_refused(
    trace_file: Callable[..., str], parse: Callable[..., Any], option: dict[str, Any]
) -> None:
    """What has no meaning for turns that wait is refused by its key, not left out."""
    config = parse(kind="trace", path=trace_file(sessions(1, 2), "t.jsonl"), **option)
    assert reacts(config)
    with pytest.raises(InputError, match=rf"workload\.{next(iter(option))}: does not go with .*turns of sessions"):
        build_source(config, 1)
