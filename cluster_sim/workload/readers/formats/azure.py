"""Azure LLM inference traces, 2023 and 2024: ``TIMESTAMP,ContextTokens,GeneratedTokens``, with or without a zone."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from cluster_sim.workload.files.csv_file import CsvColumn, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.csv_trace import CsvTraceReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class AzureFormat(TraceFormatOptions):
    """CSV of TIMESTAMP, ContextTokens, GeneratedTokens; times with or without zone."""

    kind: Literal["azure"] = "azure"


@TRACE_READERS.register("azure", AzureFormat)
class AzureReader(CsvTraceReader):
    """Times are instants, in steps of 100 ns or 1 us."""

    heeds = frozenset()
    names = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    fields: ClassVar[Mapping[str, CsvColumn]] = {
        "time": CsvColumn(("TIMESTAMP",), "instant"),
        "prompt": tokens_field("ContextTokens", least=0),
        "output": tokens_field("GeneratedTokens", least=0),
    }
    sample = (
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04,3180,8\n"
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is Azure's."""
        first = first_line(head)
        return b"timestamp" in first and b"contexttokens" in first
