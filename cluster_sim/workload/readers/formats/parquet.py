"""The product's own Parquet traces, and ``requests.parquet`` of an earlier run.

Needed: ``arrival_ns`` (or ``arrival_s``), ``prompt_tokens``, ``output_tokens``.  The attributes of a request may
follow under their own names, and its prompt's content as ``segment_ids`` and ``segment_tokens`` (lists).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.files.file_access import PARQUET, compression_of, one_line, shown_names
from cluster_sim.workload.readers.parquet_columns import refuse_values, whole_column
from cluster_sim.workload.readers.reader_interface import (
    MOST_SECONDS,
    ReadOptions,
    ReadReport,
    TraceReader,
    ZeroPolicy,
    seconds_to_ns,
    without_zeros,
)
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sampling.random_streams import Ints

TEXT_FIELDS: Final = ("tenant", "model", "slo_class", "lora")
NUMBER_FIELDS: Final = (
    "session_id",
    "turn",
    "priority",
    "deadline_ns",
    "output_segment",
    "reasoning_tokens",
    "encoder_tokens",
    "length_hint_tokens",
)
TIMES_OF_A_RUN: Final = b"cluster_sim.times_of_a_run"
"""Key of the metadata of files whose times count from the start of a run."""
_ROWS: Final = 65_536
_INTEGER_LISTS: Final = pa.list_(pa.int64())


class ParquetFormat(TraceFormatOptions):
    """Parquet of arrival_ns or arrival_s, prompt_tokens, output_tokens, and further attributes by name."""

    kind: Literal["parquet"] = "parquet"


def _sample() -> bytes:
    """Return a small file of this format."""
    rows = (
        b'{"arrival_ns": 0, "prompt_tokens": 5, "output_tokens": 7, "tenant": "a", "segment_ids": [1, 2], '
        b'"segment_tokens": [3, 2]}\n{"arrival_ns": 10, "prompt_tokens": 6, "output_tokens": 8}\n'
    )
    sink = pa.BufferOutputStream()
    # pyarrow.table would import pandas, which every run would notice.
    pyarrow.parquet.write_table(pyarrow.json.read_json(pa.BufferReader(rows)), sink)
    return bytes(sink.getvalue())


@TRACE_READERS.register("parquet", ParquetFormat)
class ParquetReader(TraceReader):
    """Times are ns or seconds."""

    heeds = frozenset()
    names = ("arrival_ns", "arrival_s", "prompt_tokens", "output_tokens")
    sample = _sample()

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file is Parquet."""
        return head.startswith(PARQUET)

    def keeps_times(self, path: Path) -> bool:
        """Return whether the file was converted from a workload, whose times are those of its run."""
        compression_of(path)
        try:
            return TIMES_OF_A_RUN in (pyarrow.parquet.read_schema(path).metadata or {})
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from None

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order, row groups in bounded batches."""
        compression_of(path)
        row = 0
        try:
            file = pyarrow.parquet.ParquetFile(path)
            names = set(file.schema_arrow.names)
            time_name = "arrival_ns" if "arrival_ns" in names else "arrival_s"
            for needed in (time_name, "prompt_tokens", "output_tokens"):
                if needed not in names:
                    found = shown_names(file.schema_arrow.names)
                    raise InputError(f"{path}: no column '{needed}'; the file has: {found}")
            ids: list[Ints] = []
            extra = [name for name in (*TEXT_FIELDS, *NUMBER_FIELDS) if name in names]
            content = ["segment_ids", "segment_tokens"] if {"segment_ids", "segment_tokens"} <= names else []
            numbered = ["request_id"] if "request_id" in names else []
            wanted = [time_name, "prompt_tokens", "output_tokens", *extra, *content, *numbered]
            report.unused.update(dict.fromkeys(name for name in file.schema_arrow.names if name not in wanted))
            policy = ZeroPolicy.of(options)
            for batch in file.iter_batches(_ROWS, columns=wanted):
                block = self._block(path, batch, row, time_name, (extra, content if options.prefixes else []))

                def place(index: int, side: str, first: int = row) -> str:
                    return f"{path}: row {first + index}, column '{side}_tokens'"

                yield without_zeros(block, policy, report, place)
                if numbered:
                    ids.append(whole_column(path, batch, "request_id", row, 0, (1 << 62) - 1))
                row += batch.num_rows
            _refuse_duplicates(path, ids)
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from None
        report.rows += row
        if row == 0:
            raise InputError(f"{path}: no rows")

    def _block(self, path: Path, batch: Any, row: int, time_name: str, extra: tuple[list[str], list[str]]) -> Columns:
        if time_name == "arrival_ns":
            arrival = whole_column(path, batch, "arrival_ns", row, 0, int(MOST_SECONDS) * NS_PER_S)
        else:
            seconds = batch.column("arrival_s").cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            refuse_values(path, "arrival_s", row, seconds, ~(np.isfinite(seconds) & (seconds >= 0)))
            arrival = seconds_to_ns(path, seconds)
        prompt = whole_column(path, batch, "prompt_tokens", row, 0, MOST_TOKENS_IN_FILE)
        output = whole_column(path, batch, "output_tokens", row, 0, MOST_TOKENS_IN_FILE)
        names, content = extra
        attributes = self._attributes(path, batch, row, names, content, prompt) if names or content else None
        return Columns(arrival, prompt, output, attributes)

    def _attributes(
        self, path: Path, batch: Any, row: int, names: list[str], content: list[str], prompt: Ints
    ) -> list[Attributes] | None:
        columns: dict[str, list[Any]] = {}
        for name in names:
            default = getattr(NO_ATTRIBUTES, name)
            kind = pa.string() if name in TEXT_FIELDS else pa.int64()
            columns[name] = batch.column(name).cast(kind).fill_null(default).to_pylist()
        if content:
            ids, tokens = (batch.column(name).cast(_INTEGER_LISTS).to_pylist() for name in content)
            columns["segments"] = [
                tuple(zip(own_ids or (), own_tokens or (), strict=False))
                for own_ids, own_tokens in zip(ids, tokens, strict=True)
            ]
            for index, (own_ids, own_tokens, total) in enumerate(zip(ids, tokens, prompt.tolist(), strict=True)):
                if (own_ids or own_tokens) and not _covers(own_ids or [], own_tokens or [], total):
                    raise InputError(
                        f"{path}: row {row + index}: segment_tokens must be positive, one for each of segment_ids, "
                        f"and add up to the {total} prompt_tokens"
                    )
        keys = tuple(columns)
        made: dict[tuple[Any, ...], Attributes] = {}
        result = []
        for values in zip(*columns.values(), strict=True):
            attributes = made.get(values)
            if attributes is None:
                attributes = made[values] = Attributes(**dict(zip(keys, values, strict=True)))
            result.append(attributes)
        return None if all(attributes == NO_ATTRIBUTES for attributes in made.values()) else result


def _covers(ids: list[int | None], tokens: list[int | None], total: int) -> bool:
    """Return whether segments are complete: positive tokens, one for each id, that add up to the prompt."""
    known = [count for count in tokens if count is not None and count >= 1]
    return len(known) == len(tokens) == len(ids) and None not in ids and sum(known) == total


def _refuse_duplicates(path: Path, ids: list[Ints]) -> None:
    if not ids:
        return
    ordered = np.sort(np.concatenate(ids))
    same = np.flatnonzero(np.diff(ordered) == 0)
    if len(same):
        raise InputError(f"{path}: request_id {ordered[same[0]]} is there twice")
