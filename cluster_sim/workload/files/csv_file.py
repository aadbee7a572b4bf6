"""Streaming CSV columns by header name, at a million rows a second, with exact places in error messages.

Design: pyarrow parses blocks of columns as numbers and instants; whole columns are checked at once.  Only when
something is wrong is the file read a second time, row by row, to say which line, column and value it was.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from cluster_sim.errors import InputError
from cluster_sim.shown_values import counted
from cluster_sim.workload.files.file_access import (
    broken_stream,
    one_line,
    open_input,
    read_head,
    read_lines,
    shown,
    shown_names,
)
from cluster_sim.workload.sampling.random_streams import Floats, Ints

MOST_TOKENS_IN_FILE: Final = (1 << 31) - 1
MOST_SECONDS: Final = 1e12
"""Absolute times up to the year 33,000; the span of a run is checked elsewhere."""

_MS_PER_S: Final = 1e3
_BLOCK_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """One wanted column: its names, its type, and its bounds."""

    names: tuple[str, ...]
    """Accepted header names; compared without case and surrounding blanks."""
    holds: Literal["tokens", "seconds", "instant", "number", "text"]
    least: float = 0.0
    most: float = MOST_SECONDS
    required: bool = True


def tokens_field(*names: str, least: int = 1) -> CsvColumn:
    """Return a column of whole token counts."""
    return CsvColumn(names, "tokens", least=least, most=MOST_TOKENS_IN_FILE)


def read_header(path: Path) -> list[str]:
    """Return the header's column names; InputError when the file is empty or not text."""
    first = read_head(path).split(b"\n", 1)[0]
    try:
        text = first.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError:
        raise InputError(f"{path}: line 1: not UTF-8 text, so not a CSV file") from None
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise InputError(f"{path}: line 1: not a CSV header ({error})") from None


def _normal(name: str) -> str:
    return name.strip().casefold()


def find_columns(path: Path, header: list[str], fields: Mapping[str, CsvColumn]) -> dict[str, int]:
    """Return the place of every wanted column that is there; InputError for a missing or doubled one."""
    places: dict[str, int] = {}
    names = [_normal(name) for name in header]
    for key, field in fields.items():
        found = [index for index, name in enumerate(names) if name in map(_normal, field.names)]
        if len(found) > 1:
            raise InputError(f"{path}: line 1: column '{field.names[0]}' is there {len(found)} times")
        if found:
            places[key] = found[0]
        elif field.required:
            hint = separator_hint(header)
            raise InputError(f"{path}: line 1: no column '{field.names[0]}'; the file has: {shown_names(header)}{hint}")
    return places


def separator_hint(header: list[str]) -> str:
    """Return what to do about a header that commas do not separate, else an empty string."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and separator in header[0]:
            return f"; its columns are separated by {name}: write commas"
    return ""


def unused_columns(path: Path, fields: Mapping[str, CsvColumn]) -> list[str]:
    """Return the names of the columns that are in the file beside the wanted ones."""
    header = read_header(path)
    used = set(find_columns(path, header, fields).values())
    return [name.strip() for index, name in enumerate(header) if index not in used]


def first_cells(path: Path) -> dict[str, str]:
    """Return the cells of the first row by the header's names, in lower case; empty where there is no row."""
    rows = _first_rows(path)
    return dict(zip(map(_normal, rows[0]), rows[1], strict=False)) if len(rows) > 1 else {}


def _first_rows(path: Path) -> list[list[str]]:
    """Return the cells of the header and of the first row, as far as they are CSV."""
    lines = read_head(path).decode("utf-8-sig", "replace").split("\n")
    try:
        return list(csv.reader(line.rstrip("\r") for line in lines[:2]))
    except csv.Error:
        return []


def _has_zone(path: Path, place: int) -> bool:
    cells = _first_rows(path)[1:]
    return bool(cells) and place < len(cells[0]) and _names_zone(cells[0][place])


def _names_zone(text: str) -> bool:
    """Return whether a time of ISO 8601 names its zone."""
    value = text.strip()
    return value.endswith("Z") or "+" in value[10:] or "-" in value[10:]


def read_csv(path: Path, fields: Mapping[str, CsvColumn]) -> Iterator[dict[str, Any]]:
    """Yield blocks as {key: column}: float64 for tokens, seconds and numbers, int64 ns for instants, lists of texts.

    Every value is present, finite and within its field's bounds, tokens are whole; anything else is an InputError
    that names file, line, column and value.
    """
    header = read_header(path)
    places = find_columns(path, header, fields)
    types: dict[str, Any] = {}
    internal = [f"f{index}" for index in range(len(header))]
    for key, place in places.items():
        if fields[key].holds == "instant":
            types[internal[place]] = pa.timestamp("ns", "UTC" if _has_zone(path, place) else None)
        elif fields[key].holds == "text":
            types[internal[place]] = pa.string()
        else:
            types[internal[place]] = pa.float64()
    rows = 0
    try:
        with open_input(path) as stream:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    block_size=_BLOCK_BYTES, use_threads=False, skip_rows=1, column_names=internal
                ),
                convert_options=pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types)),
            )
            for batch in reader:
                block = {key: _column(batch.column(internal[place]), fields[key]) for key, place in places.items()}
                if any(column is None for column in block.values()):
                    raise _locate(path, header, fields, places, None)
                rows += batch.num_rows
                if batch.num_rows:
                    yield block
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise _locate(path, header, fields, places, error) from None
    except (OSError, pa.ArrowException) as error:
        raise broken_stream(path, error) from None
    if rows == 0:
        raise InputError(f"{path}: a header but no rows")


def _column(column: Any, field: CsvColumn) -> Floats | Ints | list[str] | None:
    """Return a checked column, or None if some value is wrong."""
    if field.holds == "text":
        texts: list[str] = column.fill_null("").to_pylist()
        return texts
    if column.null_count:
        return None
    if field.holds == "instant":
        instants: Ints = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return instants
    values: Floats = column.to_numpy(zero_copy_only=False)
    fine = (values >= field.least) & (values <= field.most)
    if field.holds == "tokens":
        fine &= values == np.floor(values)
    return values if bool(fine.all()) else None


def _parse_instant(text: str) -> None:
    trimmed = text.strip()
    if "." in trimmed:
        whole, fraction = trimmed.split(".", 1)
        digits = len(fraction) - len(fraction.lstrip("0123456789"))
        trimmed = f"{whole}.{fraction[: min(digits, 6)]}{fraction[digits:]}"
    parsed = datetime.fromisoformat(trimmed)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    if not 1678 <= parsed.year <= 2261:
        raise ValueError(text)


def _fault(text: str, field: CsvColumn) -> str | None:
    """Return the fault of a cell, or None."""
    if field.holds == "text":
        return None
    if field.holds == "instant":
        try:
            _parse_instant(text)
        except ValueError:
            return "is not a time like 2023-11-16 18:15:46.68"
        return None
    try:
        value = float(text)
    except ValueError:
        return "is not a number" if text.strip() else "is empty"
    if math.isnan(value) or math.isinf(value):
        return "is not a finite number"
    if value < field.least:
        return f"is less than {field.least:g}"
    if value > field.most:
        is_ms = field.holds == "seconds" and field.most == MOST_SECONDS and value <= MOST_SECONDS * _MS_PER_S
        hint = "; if times are in milliseconds, give timestamp_unit_s: 0.001" if is_ms else ""
        return f"is greater than {field.most:g}{hint}"
    if field.holds == "tokens" and value != math.floor(value):
        return "is not a whole number of tokens"
    return None


class _Lines:
    """The lines of a file, and the number of the last one read: a row of CSV may have several."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in read_lines(self._path):
            self.number = number
            yield line.decode("utf-8", "replace") + "\n"


def _locate(
    path: Path, header: list[str], fields: Mapping[str, CsvColumn], places: Mapping[str, int], error: Exception | None
) -> InputError:
    """Return the error that names the first wrong cell of the file."""
    lines = _Lines(path)
    reader = csv.reader(lines)
    zones: dict[str, bool] = {}
    try:
        for index, row in enumerate(reader):
            if index == 0 or not row:
                continue
            if len(row) != len(header):
                found = counted(len(row), "column")
                return InputError(f"{path}: line {lines.number}: {found} where the header has {len(header)}")
            for key, place in places.items():
                fault = _fault(row[place], fields[key])
                if not fault and fields[key].holds == "instant":
                    has_zone = _names_zone(row[place])
                    if zones.setdefault(key, has_zone) is not has_zone:
                        fault = (
                            "has a zone, unlike the first time" if has_zone else "has no zone, unlike the first time"
                        )
                if fault:
                    cell = shown(row[place].strip())
                    return InputError(
                        f"{path}: line {lines.number}, column '{header[place].strip()}': '{cell}' {fault}"
                    )
    except csv.Error as fault_of_csv:
        return InputError(f"{path}: line {lines.number}: not CSV ({one_line(fault_of_csv)})")
    except InputError as broken:
        return broken
    reason = one_line(error) if error is not None else "a value could not be read"
    return InputError(f"{path}: not a readable CSV file ({reason})")


def line_of_row(path: Path, row: int) -> int:
    """Return the line number of data row ``row`` (from 0): for messages about a whole row."""
    lines = _Lines(path)
    seen = -1
    for index, cells in enumerate(csv.reader(lines)):
        if index == 0 or not cells:
            continue
        seen += 1
        if seen == row:
            return lines.number
    return lines.number


def row_place(path: Path, column: str, first_row: int) -> Callable[[int], str]:
    """Return the function that names a row, counted from ``first_row`` on, and a column in a message."""
    return lambda row: f"{path}: line {line_of_row(path, first_row + row)}, column '{column}'"
