"""Results of ``vllm bench serve --save-detailed`` and of SGLang's bench_serving with details: their requests again.

``input_lens``, ``output_lens``, ``start_times`` and ``errors`` are lists of one entry a request.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import MOST_ITEMS
from cluster_sim.shown_values import counted
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_list, item_object, number
from cluster_sim.workload.readers.reader_interface import MOST_SECONDS, ReadReport, value_to_ns
from cluster_sim.workload.readers.request_records import FAILED, RecordsReader, RequestRecord
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_LISTS: Final = ("input_lens", "output_lens")
_MARKS: Final = (b'"input_lens"', b'"total_input_tokens"')


class BenchResultFormat(TraceFormatOptions):
    """Detailed result of vllm bench serve or of SGLang's bench_serving: input_lens, output_lens, start_times."""

    kind: Literal["bench_result"] = "bench_result"
    result: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITEMS,
        description="Which result of a file with several, from 1 on; absent: the only one.",
    )


@TRACE_READERS.register("bench_result", BenchResultFormat)
class BenchResultReader(RecordsReader):
    """Times are seconds of any clock; a result without them needs arrivals."""

    options: BenchResultFormat
    names = (*_LISTS, "start_times", "total_input_tokens", "completed")
    sample = (
        b'{"completed": 2, "total_input_tokens": 12, "input_lens": [5, 7], "output_lens": [3, 4], '
        b'"start_times": [100.5, 101.0], "errors": ["", ""]}'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file has the lists, or the totals, of a result."""
        return head.lstrip()[:1] in {b"[", b"{"} and any(mark in head for mark in _MARKS)

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the requests of one result."""
        place, result = self._result(path)
        report.note(result, (*_LISTS, "start_times", "errors"))
        inputs, outputs = (item_list(place, result, name) for name in _LISTS)
        starts = item_list(place, result, "start_times") if "start_times" in result else None
        errors = item_list(place, result, "errors") if "errors" in result else [""] * len(inputs)
        for name, entries in (("output_lens", outputs), ("start_times", starts), ("errors", errors)):
            if entries is not None and len(entries) != len(inputs):
                raise place.error(
                    f"{counted(len(entries), 'entry', 'entries')} where input_lens has {len(inputs)}", name
                )
        for index in range(len(inputs)):
            if errors[index]:
                report.skipped[FAILED] += 1
                continue
            prompt, output = (
                int(_entry(place, name, entries, index, MOST_TOKENS_IN_FILE, whole=True))
                for name, entries in (("input_lens", inputs), ("output_lens", outputs))
            )
            start_s = None if starts is None else _entry(place, "start_times", starts, index, MOST_SECONDS, whole=False)
            start_ns = None if start_s is None else value_to_ns(start_s, 1e9)
            yield RequestRecord(f"{place.here()}, entry {index}", start_ns, prompt, output)

    def _result(self, path: Path) -> tuple[Place, dict[str, Any]]:
        """Return the result to replay: the one that is asked for, or the only one."""
        wanted = self.options.result
        found: tuple[Place, dict[str, Any]] | None = None
        for count, (place, item) in enumerate(json_items(path), start=1):
            result = item_object(place, item)
            _refuse_totals(place, result)
            if wanted is None and found is not None:
                raise InputError(
                    f"{place.here()}: a second result begins here; say which one to replay, from 1 on, with "
                    "format: {kind: bench_result, result: 1}"
                )
            if wanted in {None, count}:
                found = (place.fixed(), result)
            if wanted == count:
                break
        if found is None:
            raise InputError(f"{path}: there is no result {wanted or 1}")
        return found


def _refuse_totals(place: Place, result: dict[str, Any]) -> None:
    """Refuse a result that keeps no requests."""
    missing = [name for name in _LISTS if name not in result]
    if len(missing) == len(_LISTS):
        raise place.error(
            f"'{missing[0]}' is missing: the result has totals alone, which are no requests to replay; write it with "
            "--save-detailed (vLLM) or --output-details (SGLang), or draw lengths and arrivals like them"
        )


def _entry(place: Place, name: str, entries: list[Any], index: int, most: float, *, whole: bool) -> float:
    field = f"{name}[{index}]"
    return number(place, {field: entries[index]}, field, 0, most, whole=whole)
