"""Requests of OpenAI's batch API, one a line: texts and a limit of the answer, so lengths are estimates, and said.

All requests of a batch are there from the start; ``workload.arrivals`` spreads them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.options import MOST_ITEMS
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_list, item_object, kind_of_value, part_object
from cluster_sim.workload.readers.reader_interface import ReadReport
from cluster_sim.workload.readers.request_records import RecordsReader, RequestRecord, tokens
from cluster_sim.workload.readers.text_lengths import content_text, text_tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_USED: Final = frozenset({"messages", "prompt", "input", *_LIMITS})


class OpenAiBatchFormat(TraceFormatOptions):
    """JSON lines of OpenAI's batch API; lengths are estimated from the texts, answers take their limit of tokens."""

    kind: Literal["openai_batch"] = "openai_batch"
    output_tokens: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITEMS,
        description="Output tokens of every request; absent: the request's own limit.",
    )


@TRACE_READERS.register("openai_batch", OpenAiBatchFormat)
class OpenAiBatchReader(RecordsReader):
    """A file without times."""

    options: OpenAiBatchFormat
    has_times = False
    names = ("custom_id", "method", "url", "body")
    sample = (
        b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": '
        b'[{"role": "user", "content": "Hello world!"}], "max_tokens": 5}}\n'
        b'{"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Hi", "max_tokens": 7}}\n'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first line is a request of a batch."""
        first = head.lstrip().split(b"\n", 1)[0]
        return first.startswith(b"{") and b'"custom_id"' in first and b'"body"' in first

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the requests in file order."""
        names: set[str] = set()
        for place, item in json_items(path):
            row = item_object(place, item)
            place.must_be_new(row, "custom_id", names)
            body = part_object(place, row, "body")
            report.note(row, self.names)
            report.note(body, _USED, "body.")
            prompt = text_tokens(_text(place, body), report, "prompts")
            yield RequestRecord(place.here(), None, prompt, self._output(place, body, report))

    def _output(self, place: Place, body: dict[str, Any], report: ReadReport) -> int:
        if self.options.output_tokens is not None:
            return self.options.output_tokens
        limit = next((name for name in _LIMITS if body.get(name) is not None), None)
        if limit is None:
            raise place.error(
                f"none of {', '.join(_LIMITS)} says how long the answer may be; give "
                "format: {kind: openai_batch, output_tokens: 200}",
                "body",
            )
        report.changed["answers taken to be as long as the limit allows"] += 1
        return tokens(place, body, limit)


def _text(place: Place, body: dict[str, Any]) -> str:
    if "messages" in body:
        messages = item_list(place, body, "messages")
        texts = [content_text(place, item_object(place, one, "messages").get("content"), "content") for one in messages]
        return "".join(texts)
    prompt = body.get("prompt", body.get("input"))
    if not isinstance(prompt, str | list):
        raise place.error(f"a {kind_of_value(prompt)} where messages, or a text prompt, are expected", "body")
    return content_text(place, prompt, "prompt")
