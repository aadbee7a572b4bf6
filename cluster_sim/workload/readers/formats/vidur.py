"""Vidur's processed traces: ``arrived_at,num_prefill_tokens,num_decode_tokens``; length traces lack ``arrived_at``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import CsvColumn, find_columns, read_csv, read_header, row_place, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.reader import (
    NO_TIME,
    ReadOptions,
    ReadReport,
    TraceReader,
    seconds_to_ns,
    without_outputs,
)
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_FIELDS: Final = {
    "time": CsvColumn(("arrived_at",), "seconds", required=False),
    "prompt": tokens_field("num_prefill_tokens"),
    "output": tokens_field("num_decode_tokens", least=0),
}


class VidurFormat(TraceFormatOptions):
    """CSV of arrived_at (seconds), num_prefill_tokens, num_decode_tokens; without arrived_at, give arrivals."""

    kind: Literal["vidur"] = "vidur"


@TRACE_READERS.register("vidur", VidurFormat)
class VidurReader(TraceReader):
    """Times are seconds from the trace's start."""

    sample = b"arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.31,396,109\n"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is Vidur's."""
        return b"num_prefill_tokens" in first_line(head)

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order; arrival is ``NO_TIME`` in a file of lengths alone."""
        timed = "time" in find_columns(path, read_header(path), _FIELDS)
        policy = "refuse" if options.zero_output == "auto" else options.zero_output
        for block in read_csv(path, _FIELDS):
            prompt = block["prompt"].astype(np.int64)
            arrival = seconds_to_ns(path, block["time"]) if timed else np.full(len(prompt), NO_TIME, dtype=np.int64)
            columns = Columns(arrival, prompt, block["output"].astype(np.int64))
            report.rows += len(columns)
            yield without_outputs(
                columns, policy, report, row_place(path, "num_decode_tokens", report.rows - len(columns))
            )
