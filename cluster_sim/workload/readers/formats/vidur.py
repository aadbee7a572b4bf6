"""Vidur's processed traces: ``arrived_at,num_prefill_tokens,num_decode_tokens``; length traces lack ``arrived_at``."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from cluster_sim.workload.files.csv_file import CsvColumn, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.csv_trace import CsvTraceReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class VidurFormat(TraceFormatOptions):
    """CSV of arrived_at (seconds), num_prefill_tokens, num_decode_tokens; without arrived_at, give arrivals."""

    kind: Literal["vidur"] = "vidur"


@TRACE_READERS.register("vidur", VidurFormat)
class VidurReader(CsvTraceReader):
    """Times are seconds."""

    unit_s = 1.0
    names = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")
    fields: ClassVar[Mapping[str, CsvColumn]] = {
        "time": CsvColumn(("arrived_at",), "seconds", required=False),
        "prompt": tokens_field("num_prefill_tokens", least=0),
        "output": tokens_field("num_decode_tokens", least=0),
    }
    sample = b"arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.31,396,109\n"

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is Vidur's."""
        return b"num_prefill_tokens" in first_line(head)
