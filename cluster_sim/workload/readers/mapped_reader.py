"""Reader of files whose columns the study names: CSV, Parquet and JSON lines.

Every kind of file gives blocks of the same keys - time, prompt, output and texts - of which one function makes rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import (
    MOST_TOKENS_IN_FILE,
    CsvColumn,
    first_cells,
    line_of_row,
    read_csv,
    tokens_field,
    unused_columns,
)
from cluster_sim.workload.files.file_access import PARQUET, one_line, read_head, read_lines, shown_names
from cluster_sim.workload.readers.column_names import TEXTS, UNIT_S, ColumnNames
from cluster_sim.workload.readers.json_rows import Place, instant_ns, kind_of_value, number, parse_object
from cluster_sim.workload.readers.parquet_columns import time_column, whole_column
from cluster_sim.workload.readers.reader_interface import (
    MOST_SECONDS,
    NO_TIME,
    ReadOptions,
    ReadReport,
    TraceReader,
    ZeroPolicy,
    seconds_to_ns,
    value_to_ns,
    without_zeros,
)
from cluster_sim.workload.readers.session_names import SessionNames
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sampling.random_streams import Ints

_ROWS: Final = 4096
_PARQUET_ROWS: Final = 65_536


class MappedReader(TraceReader):
    """Reads the columns that the study names."""

    def __init__(self, names: ColumnNames) -> None:
        super().__init__(names)
        self._names = names
        self._texts = {key: name for key in TEXTS if (name := getattr(names, key)) is not None}
        self.unit_s = 1.0 if names.unit is None else None
        self._unit_s = UNIT_S[names.unit or "s"]

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order."""
        head = read_head(path)
        if head.startswith(PARQUET):
            blocks, noun = self._parquet(path, report), "row"
        elif head.lstrip().startswith(b"{"):
            blocks, noun = self._json_lines(path, report), "line"
        elif head.lstrip().startswith(b"["):
            raise InputError(
                f"{path}: a JSON list; columns names those of CSV, Parquet or JSON lines, one object a line"
            )
        else:
            blocks, noun = self._csv(path, report), "csv"
        policy = ZeroPolicy.of(options)
        sessions = SessionNames(options.segment_base)
        columns = {"prompt": self._names.prompt_tokens, "output": self._names.output_tokens}
        for block in blocks:
            first = report.rows
            report.rows += len(block["prompt"])

            def place(row: int, side: str, first: int = first, block: Mapping[str, Any] = block) -> str:
                lines = block.get("lines")
                where = f"row {first + row}" if lines is None else f"line {lines[row]}"
                where = f"line {line_of_row(path, first + row)}" if noun == "csv" else where
                return f"{path}: {where}, column '{columns[side]}'"

            rows = Columns(
                block["time"],
                block["prompt"].astype(np.int64),
                block["output"].astype(np.int64),
                self._attributes(block, sessions) if self._texts else None,
            )
            yield without_zeros(rows, policy, report, place)
        if not report.rows:
            raise InputError(f"{path}: no rows")

    def _attributes(self, block: Mapping[str, Any], sessions: SessionNames) -> list[Attributes]:
        columns = {key: block[key] for key in self._texts if key != "session_id"}
        result = []
        for index in range(len(block["prompt"])):
            session, turn = -1, 0
            if "session_id" in self._texts and block["session_id"][index]:
                session, turn = sessions.turn_of(block["session_id"][index])
            texts = {key: column[index] for key, column in columns.items() if column[index]}
            is_plain = session < 0 and not texts
            result.append(NO_ATTRIBUTES if is_plain else Attributes(session_id=session, turn=turn, **texts))
        return result

    def _csv(self, path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
        fields = {
            "prompt": tokens_field(self._names.prompt_tokens, least=0),
            "output": tokens_field(self._names.output_tokens, least=0),
            **{key: CsvColumn((name,), "text") for key, name in self._texts.items()},
        }
        if self._names.arrival is not None:
            is_number = _is_number(first_cells(path).get(self._names.arrival.strip().casefold(), "0"))
            report.has_instants = not is_number
            fields["time"] = CsvColumn((self._names.arrival,), "number" if is_number else "instant", most=1e19)
        report.unused.update(dict.fromkeys(unused_columns(path, fields)))
        for block in read_csv(path, fields):
            time = block.get("time")
            if time is None:
                block["time"] = np.full(len(block["prompt"]), NO_TIME, dtype=np.int64)
            elif not report.has_instants:
                block["time"] = seconds_to_ns(path, time, self._unit_s)
            for key in self._texts:
                block[key] = [text.strip() for text in block[key]]
            yield block

    def _parquet(self, path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
        wanted = {"prompt": self._names.prompt_tokens, "output": self._names.output_tokens, **self._texts}
        if self._names.arrival is not None:
            wanted["time"] = self._names.arrival
        row = 0
        try:
            file = pyarrow.parquet.ParquetFile(path)
            names = file.schema_arrow.names
            for name in wanted.values():
                if name not in names:
                    hint = suggestion(name, names)
                    raise InputError(f"{path}: no column '{name}'; the file has: {shown_names(names)}{hint}")
            report.unused.update(dict.fromkeys(name for name in names if name not in wanted.values()))
            for batch in file.iter_batches(_PARQUET_ROWS, columns=list(dict.fromkeys(wanted.values()))):
                block: dict[str, Any] = {
                    key: whole_column(path, batch, wanted[key], row, 0, MOST_TOKENS_IN_FILE)
                    for key in ("prompt", "output")
                }
                block["time"] = np.full(batch.num_rows, NO_TIME, dtype=np.int64)
                if "time" in wanted:
                    block["time"], report.has_instants = time_column(path, batch, wanted["time"], row, self._unit_s)
                for key, name in self._texts.items():
                    block[key] = batch.column(name).cast(pa.string()).fill_null("").to_pylist()
                row += batch.num_rows
                yield block
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from None

    def _json_lines(self, path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
        place = Place(path)
        used = {
            name.split(".")[0] for name in (*self._texts.values(), self._names.prompt_tokens, self._names.output_tokens)
        }
        if self._names.arrival is not None:
            used.add(self._names.arrival.split(".")[0])
        rows: list[tuple[int, int, int, list[str], int]] = []
        has_dates: bool | None = None
        for place.line, line in read_lines(path):
            if not line.strip():
                continue
            row = parse_object(place, line)
            report.unused.update(dict.fromkeys(name for name in row if name not in used and name not in self._flat))
            time_ns, is_date = self._json_time(place, row)
            if has_dates is not None and is_date is not has_dates:
                raise place.error("dates and numbers are mixed", self._names.arrival)
            has_dates = report.has_instants = is_date
            prompt, output = (
                int(number(place, *_inner(row, name), 0, MOST_TOKENS_IN_FILE, whole=True))
                for name in (self._names.prompt_tokens, self._names.output_tokens)
            )
            rows.append(
                (time_ns, prompt, output, [_text(place, row, name) for name in self._texts.values()], place.line)
            )
            if len(rows) == _ROWS:
                yield self._block(rows)
                rows = []
        if rows:
            yield self._block(rows)

    @property
    def _flat(self) -> set[str]:
        """Names as they stand: a field may have a dot in its name."""
        named = (self._names.arrival, self._names.prompt_tokens, self._names.output_tokens)
        return {*self._texts.values(), *(name for name in named if name is not None)}

    def _json_time(self, place: Place, row: dict[str, Any]) -> tuple[int, bool]:
        name = self._names.arrival
        if name is None:
            return NO_TIME, False
        inner, key = _inner(row, name)
        value = inner.get(key)
        if isinstance(value, str) and not _is_number(value):
            return instant_ns(place, value, name), True
        return value_to_ns(
            number(place, inner, key, 0, MOST_SECONDS / self._unit_s, whole=False), self._unit_s * NS_PER_S
        ), False

    def _block(self, rows: list[tuple[int, int, int, list[str], int]]) -> dict[str, Any]:
        time, prompt, output, texts, lines = zip(*rows, strict=True)
        columns: dict[str, Any] = dict(zip(self._texts, zip(*texts, strict=True), strict=False))
        whole: dict[str, Ints] = {
            "time": np.asarray(time, dtype=np.int64),
            "prompt": np.asarray(prompt, dtype=np.int64),
            "output": np.asarray(output, dtype=np.int64),
        }
        return {**columns, **whole, "lines": lines}


def _inner(row: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """Return the object that holds a field, and its key there; the row itself where the field is missing."""
    if name in row or "." not in name:
        return row, name
    outer, _, rest = name.partition(".")
    value = row.get(outer)
    return _inner(value, rest) if isinstance(value, dict) else (row, name)


def _text(place: Place, row: dict[str, Any], name: str) -> str:
    inner, key = _inner(row, name)
    value = inner.get(key)
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        raise place.error(f"a {kind_of_value(value)} where a text is expected", name)
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
