"""inference-perf's ``per_request_lifecycle_metrics.json``: a list of requests with times and token counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_object, part_object
from cluster_sim.workload.readers.reader_interface import ReadReport
from cluster_sim.workload.readers.request_records import FAILED, RecordsReader, RequestRecord, time_ns, tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class InferencePerfRecordsFormat(TraceFormatOptions):
    """JSON list of inference-perf's requests: start_time (seconds), info of input_tokens and output_tokens."""

    kind: Literal["inference_perf_records"] = "inference_perf_records"


@TRACE_READERS.register("inference_perf_records", InferencePerfRecordsFormat)
class InferencePerfRecordsReader(RecordsReader):
    """Times are seconds of any clock."""

    names = ("start_time", "end_time", "info")
    sample = (
        b'[{"start_time": 100.5, "end_time": 102.0, "info": {"input_tokens": 9, "output_tokens": 4}, "error": null}, '
        b'{"start_time": 101.0, "end_time": 103.0, "info": {"input_tokens": 7, "output_tokens": 5}, "error": null}]'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the items have times and an info."""
        return head.lstrip().startswith(b"[") and b'"start_time"' in head and b'"info"' in head

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the requests that did not fail."""
        for place, item in json_items(path):
            row = item_object(place, item)
            report.note(row, (*self.names, "error"))
            if row.get("error"):
                report.skipped[FAILED] += 1
                continue
            info = part_object(place, row, "info")
            prompt, output = (_tokens(place, info, *names) for names in _PLACES)
            yield RequestRecord(place.here(), time_ns(place, row, "start_time", 1.0), prompt, output)


_PLACES: Final = (("input_tokens", "request_metrics"), ("output_tokens", "response_metrics"))


def _tokens(place: Place, info: dict[str, Any], field: str, group: str) -> int:
    """Return a count of the info; newer files have it inside the metrics of the request or the response."""
    inner = info.get(group)
    while field not in info and isinstance(inner, dict):
        if field in inner:
            return tokens(place, inner, field)
        inner = inner.get("text")
    return tokens(place, info, field)
