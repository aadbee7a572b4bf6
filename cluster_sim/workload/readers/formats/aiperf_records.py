"""AIPerf's ``profile_export.jsonl``: one record a request, with metadata and metrics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_object, part_object
from cluster_sim.workload.readers.reader_interface import ReadReport
from cluster_sim.workload.readers.request_records import FAILED, RecordsReader, RequestRecord, time_ns, tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_METADATA: Final = ("request_start_ns", "benchmark_phase", "x_correlation_id", "conversation_id")
_LENGTHS: Final = ("input_sequence_length", "output_sequence_length")


class AiperfRecordsFormat(TraceFormatOptions):
    """JSON lines of AIPerf's profile_export.jsonl: request_start_ns, input_ and output_sequence_length."""

    kind: Literal["aiperf_records"] = "aiperf_records"


@TRACE_READERS.register("aiperf_records", AiperfRecordsFormat)
class AiperfRecordsReader(RecordsReader):
    """Times are ns since 1970; a conversation's turns are numbered in their order."""

    names = ("metadata", "metrics")
    sample = (
        b'{"metadata": {"request_start_ns": 5000000000, "conversation_id": "a"}, "metrics": {"input_sequence_length": '
        b'{"value": 9, "unit": "tokens"}, "output_sequence_length": {"value": 4, "unit": "tokens"}}, "error": null}\n'
        b'{"metadata": {"request_start_ns": 5500000000, "conversation_id": "b"}, "metrics": {"input_sequence_length": '
        b'{"value": 7, "unit": "tokens"}, "output_sequence_length": {"value": 5, "unit": "tokens"}}, "error": null}\n'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether records have AIPerf's metadata."""
        return b'"request_start_ns"' in head and b'"metadata"' in head

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the requests that were served in the measured phase."""
        for place, item in json_items(path):
            row = item_object(place, item)
            report.note(row, (*self.names, "error"))
            metadata = part_object(place, row, "metadata")
            if row.get("error"):
                report.skipped[FAILED] += 1
                continue
            if metadata.get("benchmark_phase") == "warmup":
                report.skipped["requests of the warm-up"] += 1
                continue
            metrics = part_object(place, row, "metrics")
            report.note(metadata, _METADATA, "metadata.")
            report.note(metrics, _LENGTHS, "metrics.")
            prompt, output = (tokens(place, {name: _value(place, metrics, name)}, name) for name in _LENGTHS)
            session = metadata.get("x_correlation_id") or metadata.get("conversation_id") or ""
            yield RequestRecord(
                place.here(), time_ns(place, metadata, "request_start_ns", 1e-9), prompt, output, str(session)
            )


def _value(place: Place, metrics: dict[str, Any], name: str) -> Any:
    if name not in metrics:
        raise place.error("is missing", f"metrics.{name}")
    metric = metrics[name]
    return metric.get("value") if isinstance(metric, dict) else metric
