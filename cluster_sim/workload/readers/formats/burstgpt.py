"""BurstGPT CSV, both header versions: seconds, model, request and response tokens; columns are found by name.

Rows with 0 response tokens are failed calls of the recorded service: skipped and counted unless told otherwise.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from cluster_sim.workload.files.csv_file import CsvColumn, tokens_field
from cluster_sim.workload.files.file_access import first_line
from cluster_sim.workload.readers.csv_trace import CsvTraceReader
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport
from cluster_sim.workload.readers.session_names import SessionNames
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.random_streams import Ints

_MODEL: Final = CsvColumn(("Model",), "text")
_SESSION: Final = CsvColumn(("Session ID",), "text")


class BurstGptFormat(TraceFormatOptions):
    """CSV of Timestamp (seconds), Request tokens, Response tokens; both header versions."""

    kind: Literal["burstgpt"] = "burstgpt"
    model: str | None = Field(default=None, description="Take only the rows of this Model.")
    sessions: bool = Field(default=False, description="Whether Session ID becomes the session of a request.")


@TRACE_READERS.register("burstgpt", BurstGptFormat)
class BurstGptReader(CsvTraceReader):
    """Times are seconds from the start of the trace's first day."""

    options: BurstGptFormat
    unit_s = 1.0
    names = ("Timestamp", "Model", "Request tokens", "Response tokens")
    zeros = ("one", "skip")
    fields: ClassVar[Mapping[str, CsvColumn]] = {
        "time": CsvColumn(("Timestamp",), "seconds"),
        "prompt": tokens_field("Request tokens", least=0),
        "output": tokens_field("Response tokens", least=0),
    }
    sample = (
        b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        b"5,ChatGPT,472,18,490,API log\n"
        b"7,GPT-4,91,7,98,Conversation log\n"
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the header is BurstGPT's."""
        return b"request tokens" in first_line(head)

    def wanted(self) -> Mapping[str, CsvColumn]:
        """Return the columns to read: those of sessions and models only where they are asked for."""
        more = {"model": _MODEL} if self.options.model is not None else {}
        return {**self.fields, **more, **({"session": _SESSION} if self.options.sessions else {})}

    def kept(self, block: Mapping[str, Any], report: ReadReport) -> Ints | None:
        """Return the rows of the model, if only one is wanted."""
        if self.options.model is None:
            return None
        places = np.flatnonzero(np.asarray([name.strip() == self.options.model for name in block["model"]], dtype=bool))
        report.skipped[f"not of the Model {self.options.model}"] += len(block["model"]) - len(places)
        return places

    def attributes(self, options: ReadOptions) -> Callable[[Mapping[str, Any]], list[Attributes]] | None:
        """Return what gives rows their session and turn, if sessions are wanted."""
        return SessionNames(options.segment_base).of_block if self.options.sessions else None
