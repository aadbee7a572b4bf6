"""BurstGPT CSV, both header versions: seconds, model, request and response tokens; columns are found by name.

Rows with 0 response tokens are failed calls of the recorded service: skipped and counted unless told otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.csv_file import Field, read_csv, row_place, tokens_field
from cluster_sim.workload.readers.base import ReadOptions, ReadReport, seconds_to_ns, without_outputs

_FIELDS: Final = {
    "time": Field(("Timestamp",), "seconds"),
    "prompt": tokens_field("Request tokens", least=0),
    "output": tokens_field("Response tokens", least=0),
}


class BurstGptReader:
    """Times are seconds from the start of the trace's first day."""

    name = "burstgpt"
    has_times = True

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """Return whether the header is BurstGPT's."""
        return b"request tokens" in head.split(b"\n", 1)[0].lower()

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
