"""Files whose columns the study names: CSV, JSON lines and Parquet alike."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster_sim.errors import InputError

NAMES = {"arrival": "when", "prompt_tokens": "in", "output_tokens": "out"}
FULL = {**NAMES, "session_id": "chat", "tenant": "team", "model": "llm"}
ROWS: list[dict[str, Any]] = [
    {"when": 1000, "in": 5, "out": 7, "chat": "x", "team": "a", "llm": "", "note": "n"},
    {"when": 1500, "in": 6, "out": 8, "chat": "y", "team": "", "llm": "m", "note": "n"},
    {"when": 1750, "in": 9, "out": 2, "chat": "x", "team": "b", "llm": "m", "note": "n"},
]


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    path = folder / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        cells = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        path.write_text("\n".join(cells) + "\n")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, rows: Callable[..., Any], kind: str) -> None:
    """Times in the unit that is named, lengths, sessions and texts; what is not named is reported."""
    path = write(tmp_path, kind, ROWS)
    notices: list[str] = []
    block = rows({"kind": "trace", "path": path, "columns": {**FULL, "unit": "ms"}}, notices=notices)
    assert block.arrival_ns.tolist() == [0, 500_000_000, 750_000_000]
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([5, 6, 9], [7, 8, 2])
    told = [(one.session_id, one.turn, one.tenant, one.model) for one in block.attributes]
    assert told == [(0, 0, "a", ""), (1, 0, "", "m"), (0, 1, "b", "m")]
    assert notices == [f"{path}: columns not used: note"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_dates_with_zones_and_lengths_alone(tmp_path: Path, rows: Callable[..., Any], kind: str) -> None:
    """Dates of ISO 8601 need no unit; without a column of arrivals the rows are lengths."""
    times = ["2026-03-01T01:00:00+01:00", "2026-03-01T00:00:00.250000+00:00", "2026-03-01T02:00:01+02:00"]
    path = write(tmp_path, kind, [{**row, "when": time} for row, time in zip(ROWS, times, strict=True)])
    assert rows({"kind": "trace", "path": path, "columns": NAMES}).arrival_ns.tolist() == [0, 250_000_000, 10**9]
    lengths = {key: name for key, name in NAMES.items() if key != "arrival"}
    arrivals = {"kind": "constant", "request_rate": 4}
    block = rows({"kind": "trace", "path": path, "columns": lengths, "arrivals": arrivals})
    assert block.arrival_ns.tolist() == [250_000_000, 500_000_000, 750_000_000]


def test_zones_of_csv(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """Commas inside quotes do not hide a zone, and times with and without one are not mixed."""
    path = tmp_path / "z.csv"
    good = 'note,when,in,out\n"a, b",2026-01-01T00:00:00+00:00,1,2\nc,2026-01-01T01:00:01+01:00,3,4\n'
    path.write_text(good)
    assert rows({"kind": "trace", "path": str(path), "columns": NAMES}).arrival_ns.tolist() == [0, 10**9]
    path.write_text(good.replace("01+01:00", "01"))
    with pytest.raises(InputError, match="line 3, column 'when': '2026-01-01T01:00:01' has no zone, unlike the first"):
        rows({"kind": "trace", "path": str(path), "columns": NAMES})


def test_times_of_parquet_and_fields_within_fields(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """A Parquet timestamp is a date; ``usage.in`` is the field ``in`` of ``usage``."""
    dates = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (3, 5)]
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"when": dates, "in": [1, 2], "out": [3, 4]}), path)
    assert rows({"kind": "trace", "path": str(path), "columns": NAMES}).arrival_ns.tolist() == [0, 2 * 10**9]
    inner = tmp_path / "d.jsonl"
    inner.write_text('{"at": {"s": 3}, "usage": {"in": 5, "out": 6}}\n{"at": {"s": 4}, "usage": {"in": 7, "out": 8}}')
    names = {"arrival": "at.s", "prompt_tokens": "usage.in", "output_tokens": "usage.out", "unit": "s"}
    block = rows({"kind": "trace", "path": str(inner), "columns": names})
    assert (block.arrival_ns.tolist(), block.prompt_tokens.tolist()) == ([0, 10**9], [5, 7])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("csv", {"in": "many"}, "line 3, column 'in': 'many' is not a number"),
        ("csv", {"out": 0}, "line 3, column 'out': no output tokens"),
        ("csv", {"when": "later"}, "line 3, column 'when': 'later' is not a number"),
        ("jsonl", {"in": [5]}, r"line 2, field 'in': '\[5\]' is not a number"),
        ("jsonl", {"in": 0}, "line 2, column 'in': no prompt tokens"),
        ("jsonl", {"when": "2026-01-01T00:00:00Z"}, "line 2, field 'when': dates and numbers are mixed"),
        ("jsonl", {"chat": {"a": 1}}, "line 2, field 'chat': a object where a text is expected"),
        ("parquet", {"in": None}, "row 1, column 'in': the value is missing"),
        ("parquet", {"out": 0}, "row 1, column 'out': no output tokens"),
        ("parquet", {"when": None}, "row 1, column 'when': the value is missing"),
    ],
)
def test_wrong_values(
    tmp_path: Path, rows: Callable[..., Any], kind: str, change: dict[str, Any], message: str
) -> None:
    """The message names file, line or row, and the column as the file has it."""
    path = write(tmp_path, kind, [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(InputError, match=message) as caught:
        rows({"kind": "trace", "path": path, "columns": {**FULL, "unit": "ms"}})
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_that_is_not_there(tmp_path: Path, rows: Callable[..., Any], kind: str) -> None:
    """The message lists what there is."""
    path = write(tmp_path, kind, ROWS)
    with pytest.raises(InputError, match=r"(no column|field) 'inn'.*: when, in, out, chat"):
        rows({"kind": "trace", "path": path, "columns": {**NAMES, "prompt_tokens": "inn"}})


def test_columns_replace_a_format(parse: Callable[..., Any]) -> None:
    """Columns beside a format or its options contradict."""
    for option in ({"format": "azure"}, {"labels": {"timestamp": "t"}}, {"timestamp_unit_s": 1}, {"block_tokens": 5}):
        with pytest.raises(ValidationError, match=r"not both|does not go with columns"):
            parse(kind="trace", path="x", columns=NAMES, **option)
