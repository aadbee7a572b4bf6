"""Well-formed files, as each reader reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.request import Attributes

AZURE_2023 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
)
AZURE_2024 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\n"
    "2024-05-10 00:00:00.009930+00:00,2162,5,0\n2024-05-10 00:00:01+00:00,2399,6,1\n"
)
BURST_OLD = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n118,GPT-4,417,276,693,API log\n"
)
BURST_NEW = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,3,1.5,ChatGPT,472,18,490,API log\n7.5,4,2,GPT-4,0,9,9,API log\n"
)


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_azure_2023_without_zone(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Seven digits of a second are kept: 0.052 s apart."""
    block = rows({"kind": "trace", "path": trace_file(AZURE_2023)})
    assert block.arrival_ns.tolist() == [0, 52_000_000]
    assert block.prompt_tokens.tolist() == [4808, 3180]


def test_azure_2024_with_zone_and_more_columns(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Zones are understood, further columns reported, order of columns does not matter."""
    block = rows({"kind": "trace", "format": "azure", "path": trace_file(AZURE_2024, "a.csv.gz")})
    assert block.arrival_ns.tolist() == [0, 990_070_000]
    shuffled = "GeneratedTokens,TIMESTAMP,ContextTokens\n6,2024-05-10 02:00:00+02:00,7\n8,2024-05-10 00:00:02+00:00,9\n"
    block = rows({"kind": "trace", "path": trace_file(shuffled)})
    assert block.arrival_ns.tolist() == [0, 2_000_000_000]
    assert block.output_tokens.tolist() == [6, 8]


def test_zstd_is_recognised(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """Compression is told by content, not by name."""
    path = tmp_path / "trace.csv"
    with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as stream:
        stream.write(AZURE_2023.encode())
    assert len(rows({"kind": "trace", "path": str(path)})) == 2


def test_burstgpt_both_headers(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Columns are found by name; failures are skipped and counted, or kept as one token, or refused."""
    notices: list[str] = []
    path = trace_file(BURST_OLD)
    block = rows({"kind": "trace", "path": path}, notices=notices)
    assert block.arrival_ns.tolist() == [0, 113_000_000_000]
    assert notices == [
        f"{path}: skipped 1 row: no output tokens",
        f"{path}: columns not used: Model, Total tokens, Log Type",
    ]
    assert rows({"kind": "trace", "path": path, "zero_tokens": "one"}).output_tokens.tolist() == [18, 1, 276]
    for strictness in ({"zero_tokens": "refuse"}, {"strict": True}):
        with pytest.raises(InputError, match="no output tokens"):
            rows({"kind": "trace", "path": path, **strictness})
    notices = []
    block = rows({"kind": "trace", "path": trace_file(BURST_NEW)}, notices=notices)
    assert block.prompt_tokens.tolist() == [472, 1]
    assert notices == [
        f"{path}: 1 row without prompt tokens taken as 1 token",
        f"{path}: columns not used: Session ID, Elapsed time, Model, Total tokens, Log Type",
    ]


def test_mooncake(trace_file: Callable[..., str], requests: Callable[..., Any]) -> None:
    """Times are ms; each hash is 512 tokens of prefix, the last one cut to the prompt."""
    path = trace_file(
        lines(
            {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]},
            {"timestamp": 1500, "input_length": 512, "output_length": 6, "hash_ids": [7]},
        ),
        "m.jsonl",
    )
    first, second = requests({"kind": "trace", "path": path})
    assert second.arrival_ns == 1_500_000_000
    assert first.attributes.segments == ((7, 512), (8, 88))
    assert second.attributes.segments == ((7, 512),)
    plain = requests({"kind": "trace", "path": path, "prefixes": False})
    assert plain[0].attributes == Attributes()


def test_bailian_sessions(trace_file: Callable[..., str], requests: Callable[..., Any]) -> None:
    """Times are seconds, hashes 16 tokens; parent links make sessions, also over several turns."""
    row = {"input_length": 33, "output_length": 3, "type": "text", "hash_ids": [1, 2, 3]}
    path = trace_file(
        lines(
            {"chat_id": 5, "parent_chat_id": -1, "timestamp": 1.5, "turn": 1, **row},
            {"chat_id": 6, "parent_chat_id": 5, "timestamp": 2.5, "turn": 2, **row},
            {
                "chat_id": 9,
                "parent_chat_id": 6,
                "timestamp": 3,
                "turn": 3,
                **row,
                "input_length": 40,
                "hash_ids": [1, 4],
            },
            {"chat_id": 7, "parent_chat_id": 1000, "timestamp": 4, "turn": 2, **row},
        ),
        "b.jsonl",
    )
    made = requests({"kind": "trace", "path": path})
    assert [one.attributes.session_id for one in made] == [5, 5, 5, 7]
    assert [one.attributes.turn for one in made] == [0, 1, 2, 0]
    assert made[0].attributes.segments == ((1, 16), (2, 16), (3, 1))
    own = made[2].attributes.segments[-1]
    assert made[2].attributes.segments[:2] == ((1, 16), (4, 16))
    assert own[1] == 8, "a partial last block without its hash is the request's own"


def test_timed_trace_labels_and_units(trace_file: Callable[..., str], requests: Callable[..., Any]) -> None:
    """VLLM's timed_trace: seconds by default, a multiplier and other labels when told."""
    row = {"input_length": 20, "output_length": 5, "hash_ids": [1, 2]}
    path = trace_file(lines({"t": 500, **row}, {"t": 900, **row}), "t.jsonl")
    section = {"kind": "trace", "format": "timed_trace", "path": path, "labels": {"timestamp": "t"}}
    one, two = requests({**section, "timestamp_unit_s": 0.001, "block_tokens": 10})
    assert (one.arrival_ns, two.arrival_ns) == (0, 400_000_000)
    assert one.attributes.segments == ((1, 10), (2, 10))
    one, two = requests(section)
    assert (one.arrival_ns, two.arrival_ns) == (0, 400_000_000_000)
    assert one.attributes.segments == ((1, 16), (2, 4))


def test_sharegpt_lengths(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """The first two turns count; tokens are taken where given and else estimated, with a notice."""
    items = [
        {"id": "a", "conversations": [{"from": "human", "value": "é" * 41}, {"from": "gpt", "value": "x" * 8}, {}]},
        {"id": "b", "conversations": [{"from": "human", "value": "", "tokens": 7}, {"from": "gpt", "tokens": 9}]},
        {"id": "c", "conversations": [{"from": "human", "value": "alone"}]},
        {"id": "d", "conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "y"}]},
    ]
    path = trace_file(json.dumps(items, indent=1, ensure_ascii=False), "s.json")
    notices: list[str] = []
    arrivals = {"kind": "constant", "request_rate": 1}
    block = rows({"kind": "trace", "path": path, "arrivals": arrivals}, notices=notices)
    assert block.prompt_tokens.tolist() == [11, 7]
    assert block.output_tokens.tolist() == [2, 9]
    assert notices == [
        f"{path}: skipped 1 row: conversations of fewer than two turns",
        f"{path}: skipped 1 row: conversations with an empty turn",
        f"{path}: 4 turns whose tokens were estimated as a quarter of the characters",
    ]


def test_sharegpt_keeps_its_turns(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Every answered turn is a request whose prompt carries the turns before; a system text belongs to the first."""
    talk = [
        {"from": "system", "tokens": 100}, {"from": "human", "tokens": 10}, {"from": "gpt", "tokens": 7},
        {"from": "human", "tokens": 20}, {"from": "gpt", "tokens": 5}, {"from": "human", "value": "unanswered"},
    ]  # fmt: skip
    short = [{"from": "human", "tokens": 3}, {"from": "gpt", "tokens": 2}]
    path = trace_file(json.dumps([{"conversations": talk}, {"conversations": short}]), "s.json")
    section = {"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 1}}
    think = {"kind": "sharegpt", "think_time_s": 4}
    _, driven = drive({**section, "format": think}, service_ns=lambda _: 500_000_000)
    made = [(one.arrival_ns / 1e9, one.prompt_tokens, one.output_tokens) for one in driven.requests]
    assert made == [(1.0, 110, 7), (2.0, 3, 2), (5.5, 137, 5)]


def test_sharegpt_takes_the_first_turns_when_told(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """``turns: first`` is one request a conversation, as vLLM's benchmark makes them."""
    talk = [{"from": "human", "tokens": 3}, {"from": "gpt", "tokens": 2}] * 3
    path = trace_file(json.dumps([{"conversations": talk}]), "s.json")
    section = {"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 1}}
    block = rows({**section, "format": {"kind": "sharegpt", "turns": "first"}})
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([3], [2])
    with pytest.raises(
        InputError, match=r"workload\.clip: does not go with .* turns: first\} makes one request of each"
    ):
        rows({**section, "clip": {"max_prompt_tokens": 9}})


def test_sharegpt_as_json_lines(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """One conversation a line gives the rows of the same list; a wrong line is named."""
    items = [{"id": n, "conversations": [{"role": "user", "content": "x" * n}, {"role": "assistant", "content": "y"}]}
             for n in (4, 9)]  # fmt: skip
    arrivals = {"kind": "constant", "request_rate": 1}
    listed, lined = trace_file(json.dumps(items), "s.json"), trace_file(lines(*items), "s.jsonl")
    for path in (listed, lined):
        assert rows({"kind": "trace", "path": path, "arrivals": arrivals}).prompt_tokens.tolist() == [1, 3]
    wrong = trace_file(lines(items[0], {"conversations": "none"}), "w.jsonl")
    with pytest.raises(InputError, match="line 2: no list 'conversations'"):
        rows({"kind": "trace", "path": wrong, "arrivals": arrivals})


def test_burstgpt_models_and_sessions(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """The rows of one Model, and sessions by Session ID, where they are asked for."""
    path = trace_file(BURST_NEW + "9,3,1,ChatGPT,5,6,11,API log\n")
    notices: list[str] = []
    chosen = {"kind": "burstgpt", "model": "ChatGPT", "sessions": True}
    block = rows({"kind": "trace", "path": path, "format": chosen}, notices=notices)
    assert block.prompt_tokens.tolist() == [472, 5]
    assert [(one.session_id, one.turn) for one in block.attributes] == [(0, 0), (0, 1)]
    assert notices[0] == f"{path}: skipped 1 row: not of the Model ChatGPT"


def test_sharegpt_is_read_piece_by_piece(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Items and characters that straddle the reader's chunks stay whole."""
    turns = [{"from": "human", "value": "日本語" * 4}, {"from": "gpt", "value": "z" * 4}]
    items = [{"id": str(index), "conversations": turns} for index in range(20_000)]
    path = trace_file(json.dumps(items, ensure_ascii=False), "s.json.gz")
    block = rows({"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 1}})
    assert len(block) == 20_000
    assert set(block.prompt_tokens.tolist()) == {3}


def test_results_of_a_run_can_be_replayed(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """A table with seconds, as ``requests.parquet`` has them, is a trace too; nulls mean nothing was said."""
    path = tmp_path / "requests.parquet"
    table = {
        "request_id": [0, 1], "arrival_s": [0.25, 1.5], "prompt_tokens": [5, 6], "output_tokens": [7, 8],
        "tenant": ["a", None], "session_id": [3, None],
    }  # fmt: skip
    pq.write_table(pa.table(table), path)
    block = rows({"kind": "trace", "path": str(path)})
    assert block.arrival_ns.tolist() == [0, 1_250_000_000]
    assert [one.tenant for one in block.attributes] == ["a", ""]
    assert [one.session_id for one in block.attributes] == [3, -1]
