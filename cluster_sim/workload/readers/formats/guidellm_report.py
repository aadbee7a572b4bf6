"""guidellm's report: the requests of one of its benchmarks, with their times and token counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import MOST_ITEMS
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_list, item_object, kind_of_value, part_object
from cluster_sim.workload.readers.reader_interface import ReadReport
from cluster_sim.workload.readers.request_records import FAILED, RecordsReader, RequestRecord, time_ns, tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_STARTS: Final = ("request_start_time", "start_time")
_PROMPTS: Final = ("prompt_tokens", "input_tokens")
_OUTPUTS: Final = ("output_tokens", "completion_tokens")


class GuidellmReportFormat(TraceFormatOptions):
    """JSON report of guidellm, whose benchmarks keep their requests."""

    kind: Literal["guidellm_report"] = "guidellm_report"
    benchmark: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITEMS,
        description="Which benchmark of the report, from 1 on; absent: the only one.",
    )


@TRACE_READERS.register("guidellm_report", GuidellmReportFormat)
class GuidellmReportReader(RecordsReader):
    """Times are seconds since 1970."""

    options: GuidellmReportFormat
    names = ("benchmarks",)
    sample = (
        b'{"benchmarks": [{"requests": {"successful": [{"start_time": 100.5, "prompt_tokens": 9, "output_tokens": 4}, '
        b'{"start_time": 101.0, "prompt_tokens": 7, "output_tokens": 5}], "errored": []}}]}'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file is a report of guidellm."""
        return head.lstrip().startswith(b"{") and (b'"benchmarks"' in head or b'"guidellm_version"' in head)

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the successful requests of one benchmark."""
        for count, (place, item) in enumerate(json_items(path)):
            if count:
                raise InputError(f"{place.here()}: a second report begins here; one is expected")
            benchmarks = item_list(place, item_object(place, item), "benchmarks")
            wanted = self.options.benchmark
            if wanted is None and len(benchmarks) != 1:
                raise InputError(
                    f"{path}: the report has {len(benchmarks)} benchmarks; say which one to replay, from 1 on, with "
                    "format: {kind: guidellm_report, benchmark: 1}"
                )
            if (wanted or 1) > len(benchmarks):
                raise InputError(f"{path}: there is no benchmark {wanted}; the report has {len(benchmarks)}")
            benchmark = item_object(place, benchmarks[(wanted or 1) - 1], "benchmarks")
            yield from _requests(place, benchmark, report)


def _requests(place: Place, benchmark: dict[str, Any], report: ReadReport) -> Iterator[RequestRecord]:
    requests = part_object(place, benchmark, "requests")
    for status in ("errored", "incomplete"):
        kept = requests.get(status) or []
        if not isinstance(kept, list):
            raise place.error(f"a {kind_of_value(kept)} where a list is expected", f"requests.{status}")
        report.skipped[FAILED] += len(kept)
    successful = item_list(place, requests, "successful")
    if not successful:
        raise place.error(
            "the benchmark keeps none of its requests, so there is nothing to replay; write the report with them",
            "requests.successful",
        )
    for index, one in enumerate(successful):
        row = item_object(place, one, f"requests.successful[{index}]")
        report.note(row, (*_STARTS, *_PROMPTS, *_OUTPUTS), "requests.")
        start, prompt, output = (_name(row, names) for names in (_STARTS, _PROMPTS, _OUTPUTS))
        yield RequestRecord(
            f"{place.here()}, request {index}",
            time_ns(place, row, start, 1.0),
            tokens(place, row, prompt),
            tokens(place, row, output),
        )


def _name(row: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if row.get(name) is not None), names[0])
