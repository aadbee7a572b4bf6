"""OpenTelemetry traces of model calls (``gen_ai`` spans): each trace is a session of the calls inside it.

A call waits for the one that had ended last before it started.  Lengths are the usage that spans carry, otherwise a
quarter of the characters of the messages.  A prompt that begins with the prompt and answer of the call waited for
shares them with it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from cluster_sim.errors import InputError
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, instant_ns, item_list, item_object, kind_of_value
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport, ZeroPolicy
from cluster_sim.workload.readers.recorded_calls import RecordedCall, link_calls
from cluster_sim.workload.readers.session_reader import SessionReader
from cluster_sim.workload.readers.text_lengths import content_text, text_tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.sessions.recorded_session import FIRST, RecordedSession, RecordedTurn

_INPUT_TOKENS: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT_TOKENS: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
_MESSAGES: Final = ("gen_ai.input.messages", "gen_ai.prompt")
_ANSWERS: Final = ("gen_ai.output.text", "gen_ai.output.messages", "gen_ai.completion")
_SPAN: Final = (
    "trace_id",
    "traceId",
    "span_id",
    "spanId",
    "start_time",
    "end_time",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "attributes",
)
_OWN: Final = 1 << 43
Messages = list[tuple[str, int]]
"""Text and tokens of each message of a prompt."""


class OtelFormat(TraceFormatOptions):
    """JSON of OpenTelemetry spans (one object of spans a trace, or OTLP's resourceSpans) with gen_ai attributes."""

    kind: Literal["otel"] = "otel"


@TRACE_READERS.register("otel", OtelFormat)
class OtelReader(SessionReader):
    """Times are dates, or nanoseconds since 1970."""

    names = ("spans", "resourceSpans", "trace_id")
    sample = (
        b'{"trace_id": "a", "spans": [{"span_id": "1", "start_time": "2026-01-01T00:00:00", "end_time": '
        b'"2026-01-01T00:00:02", "attributes": {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 4}}, '
        b'{"span_id": "2", "start_time": "2026-01-01T00:00:03", "end_time": "2026-01-01T00:00:04", "attributes": '
        b'{"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 4}}]}'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether there are spans."""
        return head.lstrip()[:1] in {b"[", b"{"} and (b'"spans"' in head or b'"resourceSpans"' in head)

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the traces with model calls, in order of their first call."""
        traces: dict[str, list[_Call]] = {}
        seen: set[tuple[str, str]] = set()
        for place, item in json_items(path):
            for span in _spans(place, item_object(place, item)):
                report.rows += 1
                _refuse_twice(place, span, seen)
                call = _Call.of(place, span, report)
                if call is None:
                    report.skipped["spans that are no model calls"] += 1
                else:
                    traces.setdefault(call.trace, []).append(call)
        if not report.rows:
            raise InputError(f"{path}: no spans")
        policy = ZeroPolicy.of(options, "skip", "skip")
        sessions: list[RecordedSession] = []
        for calls in traces.values():
            kept = [call for call in calls if call.takes(policy, report)]
            if kept:
                sessions.append(_session(kept, options, report.rows + len(sessions)))
        return sessions


def _spans(place: Place, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the spans of one object, whichever way it holds them."""
    if "resourceSpans" in item:
        for resource in item_list(place, item, "resourceSpans"):
            for scope in item_list(place, item_object(place, resource, "resourceSpans"), "scopeSpans"):
                yield from _spans(place, item_object(place, scope, "scopeSpans"))
        return
    for span in item_list(place, item, "spans"):
        row = item_object(place, span, "spans")
        yield row if "trace_id" in row or "traceId" in row else {"trace_id": item.get("trace_id"), **row}


def _refuse_twice(place: Place, span: dict[str, Any], seen: set[tuple[str, str]]) -> None:
    """Refuse a span that is in the file already."""
    own = span.get("span_id", span.get("spanId"))
    if not isinstance(own, str):
        return
    key = (str(span.get("trace_id", span.get("traceId"))), own)
    if key in seen:
        raise place.error(f"the span '{own:.60}' is there twice", "span_id" if "span_id" in span else "spanId")
    seen.add(key)


def _attributes(place: Place, span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes as a mapping; OTLP lists them as key and typed value."""
    given = span.get("attributes", {})
    if isinstance(given, dict):
        return given
    if not isinstance(given, list):
        raise place.error(f"a {kind_of_value(given)} where an object or a list is expected", "attributes")
    result = {}
    for entry in given:
        pair = item_object(place, entry, "attributes")
        value = pair.get("value")
        typed = next(iter(value.values()), None) if isinstance(value, dict) else value
        is_count = isinstance(value, dict) and "intValue" in value and isinstance(typed, str) and typed.isdigit()
        result[str(pair.get("key"))] = int(str(typed)) if is_count else typed
    return result


class _Call:
    """One model call, as its span says."""

    __slots__ = ("answer", "end_ns", "messages", "output", "prompt", "start_ns", "trace")

    def __init__(self, trace: str, start_ns: int, end_ns: int) -> None:
        self.trace, self.start_ns, self.end_ns = trace, start_ns, end_ns
        self.prompt = self.output = 0
        self.messages: Messages | None = None
        self.answer = ""

    @classmethod
    def of(cls, place: Place, span: dict[str, Any], report: ReadReport) -> "_Call | None":
        """Return the call of a span; None for a span that is none."""
        attributes = _attributes(place, span)
        report.note(span, _SPAN)
        report.note(attributes, (*_INPUT_TOKENS, *_OUTPUT_TOKENS, *_MESSAGES, *_ANSWERS))
        messages = _first(attributes, _MESSAGES)
        prompt, output = (_count(place, attributes, names) for names in (_INPUT_TOKENS, _OUTPUT_TOKENS))
        if messages is None and prompt is None:
            return None
        trace = span.get("trace_id", span.get("traceId"))
        start_ns, end_ns = (_time_ns(place, span, *names) for names in _TIMES)
        if end_ns < start_ns:
            raise place.error("the span ends before it starts", _TIMES[1][0])
        call = cls(str(trace), start_ns, end_ns)
        if messages is not None:
            call.messages = _messages(place, messages, None if prompt is not None else report)
        call.answer = _answer(place, _first(attributes, _ANSWERS))
        call.prompt = prompt if prompt is not None else sum(tokens for _, tokens in call.messages or ())
        call.output = output if output is not None else text_tokens(call.answer, report, "answers")
        return call

    def takes(self, policy: ZeroPolicy, report: ReadReport) -> bool:
        """Apply the policy for calls of zero tokens; return whether the call stays."""
        lengths = policy.lengths(self.prompt, self.output, report, lambda: f"trace {self.trace}")
        if lengths is not None:
            self.prompt, self.output = lengths
        return lengths is not None

    def extends(self, other: "_Call") -> bool:
        """Return whether the prompt begins with another call's prompt and answer."""
        if self.messages is None or other.messages is None:
            return self.prompt >= other.prompt + other.output
        texts, before = ([text for text, _ in one.messages or ()] for one in (self, other))
        return len(texts) > len(before) and texts[: len(before)] == before and texts[len(before)] == other.answer


_TIMES: Final = (("start_time", "startTimeUnixNano"), ("end_time", "endTimeUnixNano"))


def _session(calls: list[_Call], options: ReadOptions, number_of: int) -> RecordedSession:
    calls.sort(key=lambda call: (call.start_ns, call.end_ns))
    turns = link_calls(
        [RecordedCall(one.start_ns, one.end_ns, RecordedTurn(one.prompt, one.output, is_whole=True)) for one in calls]
    )
    for index, (call, turn) in enumerate(zip(calls, turns, strict=True)):
        if turn.after == FIRST or call.extends(calls[turn.after]):
            continue
        own = options.segment_base + _OWN + (number_of << 20) + index
        turn.segments = ((own, turn.prompt_tokens),) if options.prefixes else ()
    return RecordedSession(calls[0].start_ns, turns)


def _first(attributes: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _count(place: Place, attributes: dict[str, Any], names: tuple[str, ...]) -> int | None:
    value = _first(attributes, names)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MOST_TOKENS_IN_FILE:
        raise place.error(f"'{value!s:.60}' is not a whole number of tokens", next(n for n in names if n in attributes))
    return value


def _time_ns(place: Place, span: dict[str, Any], date: str, nanoseconds: str) -> int:
    value = span.get(date, span.get(nanoseconds))
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, str):
        return instant_ns(place, value, date)
    if type(value) is int and 0 <= value < 1 << 62:
        return value
    raise place.error(f"a {kind_of_value(value)} where a date, or a number of nanoseconds, is expected", date)


def _parsed(place: Place, value: Any, field: str) -> Any:
    """Return messages, which attributes may hold as JSON text."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise place.error("is not JSON", field) from None


def _message_text(place: Place, message: Any, field: str) -> str:
    if isinstance(message, str):
        return message
    row = item_object(place, message, field)
    if "parts" in row:
        parts = item_list(place, row, "parts")
        return "".join(str(part.get("content", "")) for part in parts if isinstance(part, dict))
    return content_text(place, row.get("content"), field)


def _messages(place: Place, value: Any, report: ReadReport | None) -> Messages:
    """Return the messages of a prompt; their tokens are estimated where there is a report to say so."""
    listed = _parsed(place, value, _MESSAGES[0])
    items = listed if isinstance(listed, list) else [listed]
    texts = [_message_text(place, message, _MESSAGES[0]) for message in items]
    return [(text, text_tokens(text, report, "messages") if report else 0) for text in texts]


def _answer(place: Place, value: Any) -> str:
    parsed = _parsed(place, value, _ANSWERS[0])
    if parsed is None:
        return ""
    items = parsed if isinstance(parsed, list) else [parsed]
    return "".join(_message_text(place, message, _ANSWERS[0]) for message in items)
