"""Trace format of vLLM's timed_trace."""

from pathlib import Path
from typing import Literal

from cluster_sim.workload.readers.json_lines import JsonLinesReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class TimedTraceFormat(TraceFormatOptions):
    """JSON lines as Mooncake's in seconds, with the options of vLLM's timed_trace; it must be named."""

    kind: Literal["timed_trace"] = "timed_trace"


@TRACE_READERS.register("timed_trace", TimedTraceFormat)
class TimedTraceReader(JsonLinesReader):
    """Lines with times in seconds."""

    unit_s = 1.0
    block_tokens = 16
    names = ()
    sample = b'{"timestamp": 0, "input_length": 30, "output_length": 5, "hash_ids": [7, 8]}\n' * 2

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return False: nothing tells the lines from Mooncake's."""
        return False
