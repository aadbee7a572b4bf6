"""Wrong files: one clear message with file, line and column; never a traceback, never a silent skip."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport
from cluster_sim.workload.readers.trace_format import AUTO, TRACE_READERS, find_reader

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04,3180,8\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.31,396,109\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,API log\n"
MOONCAKE = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]}\n' * 2
BAILIAN = (
    '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 1, "input_length": 9, "output_length": 5, "hash_ids": [7]}\n'
)
SHAREGPT = json.dumps(
    [{"id": "a", "conversations": [{"from": "human", "value": "hi there"}, {"from": "gpt", "value": "x"}]}]
)


def read(path: Path | str, name: str = "auto", **options: Any) -> tuple[int, ReadReport]:
    path = Path(path)
    report = ReadReport()
    reader = find_reader(name, path)
    if path.is_file() and reader.holds_sessions(path):
        return sum(len(one.turns) for one in reader.sessions(path, ReadOptions(**options), report)), report
    rows = sum(len(block) for block in reader.blocks(path, ReadOptions(**options), report))
    return rows, report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (AZURE.replace("4808", "48x8"), "line 2, column 'ContextTokens': '48x8' is not a number"),
        (AZURE.replace("4808", ""), "line 2, column 'ContextTokens': '' is empty"),
        (AZURE.replace("3180", "NaN"), "line 3, column 'ContextTokens': 'NaN' is not a finite number"),
        (AZURE.replace("3180", "-5"), "line 3, column 'ContextTokens': '-5' is less than 0"),
        (AZURE.replace("3180", "0"), "line 3, column 'ContextTokens': no prompt tokens; zero_tokens: skip or one"),
        (AZURE.replace("3180", "1e18"), "line 3, column 'ContextTokens': '1e18' is greater than"),
        (AZURE.replace("3180", "3.5"), "line 3, column 'ContextTokens': '3.5' is not a whole number of tokens"),
        (AZURE.replace(",8\n", ",0\n"), "column 'GeneratedTokens': no output tokens"),
        (AZURE.replace("2023-11-16 18:17:04", "yesterday"), "line 3, column 'TIMESTAMP': 'yesterday' is not a time"),
        (AZURE.replace(",10\n", ",10,11\n"), "line 2: 4 columns where the header has 3"),
        (AZURE[:-7], "line 3: 2 columns where the header has 3"),
        (AZURE.replace("GeneratedTokens", "Generated"), "no column 'GeneratedTokens'; the file has: TIMESTAMP"),
        (AZURE.replace("GeneratedTokens", "ContextTokens"), "there 2 times"),
        (AZURE.split("\n", maxsplit=1)[0] + "\n", "a header but no rows"),
        (VIDUR.replace("4.31", "inf"), "line 3, column 'arrived_at': 'inf' is not a finite number"),
        (VIDUR.replace("4.31", "-1"), "line 3, column 'arrived_at': '-1' is less than 0"),
        (VIDUR.replace("4.31", "1e11"), "is the unit of time right"),
        (BURST.replace("472", "many"), "line 2, column 'Request tokens': 'many'"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b,c\n1,2,3\n", "not recognised as any of aiperf_records, azure, bailian"),
    ],
)
def test_wrong_csv_files(trace_file: Callable[..., str], content: str, message: str) -> None:
    """The message names line, column and value."""
    path = trace_file(content)
    with pytest.raises(InputError, match=message) as error:
        read(path)
    assert str(error.value).startswith(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": "soon"}, "line 2, field 'timestamp': 'soon' is not a number"),
        ({"timestamp": -1}, "line 2, field 'timestamp': -1 is not between 0"),
        ({"timestamp": True}, "line 2, field 'timestamp': 'True' is not a number"),
        ({"input_length": 0}, "line 2, field 'input_length': no prompt tokens"),
        ({"input_length": 1.5}, "not a whole number of tokens"),
        ({"input_length": float("nan")}, "nan is not a finite number"),
        ({"output_length": 10**30}, "line 2, field 'output_length'"),
        ({"output_length": 0}, "line 2, field 'output_length': no output tokens"),
        ({"output_length": None}, "'None' is not a number"),
        ({"hash_ids": [1]}, "1 hash of 512 tokens does not cover a prompt of 1100 tokens"),
        ({"hash_ids": [1, 2, 3, 4]}, "4 hashes of 512 tokens do not cover"),
        ({"hash_ids": "abc"}, "not a list of whole numbers"),
        ({"hash_ids": [1, "x", 3]}, "not a list of whole numbers"),
    ],
)
def test_wrong_json_lines(trace_file: Callable[..., str], change: dict[str, Any], message: str) -> None:
    """The message names line and field."""
    good = {"timestamp": 1, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]}
    path = trace_file(json.dumps(good) + "\n" + json.dumps({**good, **change}) + "\n", "t.jsonl")
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"timestamp": 1', "line 3: not a JSON object"),
        ("[1, 2]", "line 3: a JSON list where an object is expected"),
        ('{"timestamp": 1}', "line 3, field 'input_length': is missing; there are: timestamp"),
        ("[" * 100_000, "line 3: not a JSON object"),
        ("\udcff", "line 3: not a JSON object"),
    ],
)
def test_broken_json_lines(trace_file: Callable[..., str], line: str, message: str) -> None:
    """What is not an object with the fields is refused with its line; truncation included."""
    path = trace_file(MOONCAKE.encode() + line.encode("utf-8", "surrogateescape"), "t.jsonl")
    with pytest.raises(InputError, match=message):
        read(path)


def test_duplicate_chats(trace_file: Callable[..., str]) -> None:
    """A chat id that is there twice is refused."""
    with pytest.raises(InputError, match="line 2, field 'chat_id': 1 is there twice"):
        read(trace_file(BAILIAN * 2, "b.jsonl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SHAREGPT + SHAREGPT, "a second document begins after the end of the JSON list"),
        (SHAREGPT[:-2], "item 0: the JSON list is cut off or damaged here"),
        (SHAREGPT.replace('"conversations"', '"conversation", "conversations"', 1), "item 0"),
        ('[{"conversations": 5}]', "item 0: no list 'conversations'"),
        ('[{"conversations": [1, 2]}]', "turn 0: not an object"),
        ('[{"conversations": [{"value": 5}, {"value": "x"}]}]', "turn 0: neither a text"),
        ('[{"conversations": [{"tokens": -5}, {"value": "x"}]}]', "'tokens' must be a whole number"),
    ],
)
def test_wrong_sharegpt_files(trace_file: Callable[..., str], content: str, message: str) -> None:
    """The message names the item and the turn."""
    with pytest.raises(InputError, match=message):
        read(trace_file(content, "s.json"), "sharegpt")


def test_compressed_files_that_are_damaged(tmp_path: Path) -> None:
    """Truncated and corrupted gzip are told apart from wrong content, for every way of reading."""
    for name, content in (("azure", AZURE), ("mooncake", MOONCAKE), ("sharegpt", SHAREGPT)):
        whole = gzip.compress((content if name == "sharegpt" else content + content[40:] * 500).encode())
        for data in (whole[:-9], whole[: len(whole) // 2], whole[:30] + b"\xff\xff\xff" + whole[33:], whole[:5]):
            path = tmp_path / "x.gz"
            path.write_bytes(data)
            with pytest.raises(InputError, match="the compressed file is truncated or damaged"):
                read(path, name)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    """Plain text called .gz is read as what it is."""
    path = tmp_path / "plain.csv.gz"
    path.write_text(VIDUR)
    assert read(path)[0] == 2


def test_binary_files_and_folders(tmp_path: Path) -> None:
    """Binary junk, folders and missing files have their own messages."""
    path = tmp_path / "junk"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="binary content"):
        read(path)
    with pytest.raises(InputError, match="not recognised"):
        read(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path, "azure")
    with pytest.raises(InputError, match="unknown trace format 'csv'; known: aiperf_records, azure, bailian"):
        read(path, "csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_tokens": [5, 0]}, "row 1, column 'prompt_tokens': no prompt tokens"),
        ({"prompt_tokens": [5, None]}, "row 1, column 'prompt_tokens': the value is missing"),
        ({"prompt_tokens": ["a", "b"]}, "column 'prompt_tokens' holds string, not numbers"),
        ({"output_tokens": [1.5, 2.0]}, "row 0, column 'output_tokens': 1.5 is not allowed"),
        ({"arrival_ns": [5, -1]}, "row 1, column 'arrival_ns': -1 is not allowed"),
        ({"segment_ids": [[1], [2]], "segment_tokens": [[5], [5]]}, "row 1: segment_tokens must be positive"),
        ({"segment_ids": [[1], [None]], "segment_tokens": [[5], [6]]}, "row 1: segment_tokens must be positive"),
        ({"segment_ids": [[1], [2]], "segment_tokens": [[5], [None]]}, "row 1: segment_tokens must be positive"),
        ({"segment_ids": [["a"], ["b"]], "segment_tokens": [[5], [6]]}, "not a readable Parquet file"),
        ({"request_id": [4, 4]}, "request_id 4 is there twice"),
        ({"output_tokens": None}, "no column 'output_tokens'; the file has: arrival_ns"),
    ],
)
def test_wrong_parquet_files(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """The message names row and column."""
    table: dict[str, Any] = {"arrival_ns": [0, 10], "prompt_tokens": [5, 6], "output_tokens": [7, 8]} | change
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: column for name, column in table.items() if column is not None}), path)
    with pytest.raises(InputError, match=message):
        read(path)


def attempt(path: Path, name: str) -> None:
    """Read a file to its end: it works, or it is refused with one line of printable text that names it."""
    try:
        read(path, name)
    except InputError as error:
        text = str(error)
        assert text.startswith(str(path))
        assert len(text) < 1000
        assert text.isprintable()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=400), head=st.sampled_from(["", "\x1f\x8b", "PAR1", "(\xb5/\xfd", "[", "{"]))
@pytest.mark.parametrize("name", [*TRACE_READERS.names(), AUTO])
def test_random_bytes(tmp_path: Path, name: str, junk: bytes, head: str) -> None:
    """Whatever the bytes, a reader answers with rows or with one message."""
    path = tmp_path / "junk"
    path.write_bytes(head.encode("latin-1") + junk)
    attempt(path, name)


@st.composite
def mutated(draw: Any, whole: bytes) -> bytes:
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["flip", "cut", "insert", "repeat", "drop"])):
            case "flip" if data:
                data[place] = draw(st.integers(0, 255))
            case "cut":
                del data[place:]
            case "insert":
                data[place:place] = draw(
                    st.sampled_from(
                        [b",", b"\n", b'"', b"nan", b"-", b"1e999", b"\xff\xfe", b"}", b"[", b"\r", b"0" * 400]
                    )
                )
            case "repeat":
                data += data[place:]
            case "drop":
                del data[place : place + draw(st.integers(1, 9))]
    return bytes(data)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", TRACE_READERS.names())
def test_mutated_samples(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """A format's own sample with bytes flipped, cut, repeated or inserted is read or refused, never a traceback."""
    path = tmp_path / "mutated"
    path.write_bytes(data.draw(mutated(TRACE_READERS.get(name).part.sample)))
    attempt(path, name)
