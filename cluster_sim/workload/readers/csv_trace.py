"""CSV traces of one row a request: what formats of columns found by name have in common."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import (
    CsvColumn,
    read_csv,
    row_place,
    unused_columns,
)
from cluster_sim.workload.readers.reader_interface import (
    NO_TIME,
    Choice,
    ReadOptions,
    ReadReport,
    TraceReader,
    ZeroPolicy,
    seconds_to_ns,
    without_zeros,
)
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.random_streams import Ints


class CsvTraceReader(TraceReader):
    """Reads the columns ``time``, ``prompt`` and ``output``; a format is a subclass that names them."""

    heeds: ClassVar[frozenset[str]] = frozenset({"timestamp_unit_s"})
    fields: ClassVar[Mapping[str, CsvColumn]]
    zeros: ClassVar[tuple[Choice, Choice]] = ("refuse", "refuse")
    """Rows without prompt and without output tokens where ``zero_tokens`` is auto."""

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order; arrival is ``NO_TIME`` in a file of lengths alone."""
        unit_s = options.timestamp_unit_s or self.unit_s or 1.0
        fields = _in_unit(self.wanted(), unit_s)
        report.unused.update(dict.fromkeys(unused_columns(path, fields)))
        policy = ZeroPolicy.of(options, *self.zeros)
        columns = {side: fields[side].names[0] for side in ("prompt", "output")}
        attributes = self.attributes(options)
        for block in read_csv(path, fields):
            prompt, output = (block[key].astype(np.int64) for key in ("prompt", "output"))
            first = report.rows
            report.rows += len(prompt)
            rows = Columns(
                _times(path, block, fields, unit_s),
                prompt,
                output,
                attributes(block) if attributes else None,
            )
            kept = self.kept(block, report)
            if kept is not None:
                rows = rows.rows(kept)

            def place(row: int, side: str, first: int = first, kept: Ints | None = kept) -> str:
                return row_place(path, columns[side], first)(row if kept is None else int(kept[row]))

            yield without_zeros(rows, policy, report, place)

    def wanted(self) -> Mapping[str, CsvColumn]:
        """Return the columns to read."""
        return self.fields

    def attributes(self, options: ReadOptions) -> Callable[[Mapping[str, Any]], list[Attributes]] | None:
        """Return what says the attributes of the rows of each block of one pass, in order; None if there are none."""
        return None

    def kept(self, block: Mapping[str, Any], report: ReadReport) -> Ints | None:
        """Return the places of the rows to keep of a block; None for all."""
        return None


def _in_unit(fields: Mapping[str, CsvColumn], unit_s: float) -> Mapping[str, CsvColumn]:
    """Return the columns with the greatest time in units of the file."""
    time = fields.get("time")
    if time is None or time.holds != "seconds":
        return fields
    return {**fields, "time": replace(time, most=time.most / unit_s)}


def _times(path: Path, block: Mapping[str, Any], fields: Mapping[str, CsvColumn], unit_s: float) -> Ints:
    if "time" not in block:
        return np.full(len(block["prompt"]), NO_TIME, dtype=np.int64)
    if fields["time"].holds == "instant":
        instants: Ints = block["time"]
        return instants
    return seconds_to_ns(path, block["time"], unit_s)
