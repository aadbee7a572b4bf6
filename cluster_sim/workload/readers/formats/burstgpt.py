"""BurstGPT CSV, both header versions: seconds, model, request and response tokens; columns are found by name.

Rows with 0 response tokens are failed calls of the recorded service: skipped and counted unless told otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import CsvColumn, read_csv, row_place, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.reader import ReadOptions, ReadReport, TraceReader, seconds_to_ns, without_outputs
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_FIELDS: Final = {
    "time": CsvColumn(("Timestamp",), "seconds"),
    "prompt": tokens_field("Request tokens", least=0),
    "output": tokens_field("Response tokens", least=0),
}


class BurstGptFormat(TraceFormatOptions):
    """CSV of Timestamp (seconds), Request tokens, Response tokens; both header versions."""

    kind: Literal["burstgpt"] = "burstgpt"


@TRACE_READERS.register("burstgpt", BurstGptFormat)
class BurstGptReader(TraceReader):
    """Times are seconds from the start of the trace's first day."""

    sample = (
        b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        b"5,ChatGPT,472,18,490,API log\n"
        b"7,GPT-4,91,7,98,Conversation log\n"
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is BurstGPT's."""
        return b"request tokens" in first_line(head)

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order."""
        policy = "skip" if options.zero_output == "auto" else options.zero_output
        for block in read_csv(path, _FIELDS):
            columns = Columns(
                seconds_to_ns(path, block["time"]), block["prompt"].astype(np.int64), block["output"].astype(np.int64)
            )
            report.rows += len(columns)
            columns = without_outputs(
                columns, policy, report, row_place(path, "Response tokens", report.rows - len(columns))
            )
            empty = columns.prompt_tokens == 0
            if bool(empty.any()):
                report.changed["rows without request tokens taken as 1 token"] += int(np.count_nonzero(empty))
                columns.prompt_tokens = np.maximum(columns.prompt_tokens, 1)
            yield columns
