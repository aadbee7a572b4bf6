"""Azure LLM inference traces, 2023 and 2024: ``TIMESTAMP,ContextTokens,GeneratedTokens``, with or without a zone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import CsvColumn, read_csv, row_place, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.reader import ReadOptions, ReadReport, TraceReader, without_outputs
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_FIELDS: Final = {
    "time": CsvColumn(("TIMESTAMP",), "instant"),
    "prompt": tokens_field("ContextTokens"),
    "output": tokens_field("GeneratedTokens", least=0),
}


class AzureFormat(TraceFormatOptions):
    """CSV of TIMESTAMP, ContextTokens, GeneratedTokens; times (with or without zone) count from the first."""

    kind: Literal["azure"] = "azure"


@TRACE_READERS.register("azure", AzureFormat)
class AzureReader(TraceReader):
    """Times are absolute (100 ns or 1 us steps) and become relative to the first row's."""

    sample = (
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04,3180,8\n"
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is Azure's."""
        first = first_line(head)
        return b"timestamp" in first and b"contexttokens" in first

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order."""
        start_ns: int | None = None
        policy = "refuse" if options.zero_output == "auto" else options.zero_output
        for block in read_csv(path, _FIELDS):
            times = block["time"]
            if start_ns is None:
                start_ns = int(times[0])
            arrival = times - start_ns
            if int(np.abs(arrival).max()) > LONGEST_RUN_S * NS_PER_S:
                raise InputError(
                    f"{path}: TIMESTAMPs lie more than {LONGEST_RUN_S:.0f} s apart; a run cannot span that"
                )
            columns = Columns(arrival, block["prompt"].astype(np.int64), block["output"].astype(np.int64))
            report.rows += len(columns)
            yield without_outputs(
                columns, policy, report, row_place(path, "GeneratedTokens", report.rows - len(columns))
            )
