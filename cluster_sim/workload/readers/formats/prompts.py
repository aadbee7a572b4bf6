"""JSON lines of prompts as texts: datasets of AIPerf (single_turn, multi_turn), SGLang and vLLM (custom).

A line has a text (``prompt``, ``text``, ``text_input``, ``texts``) or ``messages``, or ``turns`` of such.  Lines of one
``session_id`` wait for one another, after ``delay`` (ms), as do the payloads of a session of AIPerf's inputs.json.
Texts of later turns are new beside the history; messages are the whole prompt.  Lengths are estimated from the texts,
and said.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import MOST_ITEMS
from cluster_sim.workload.files.file_access import shown_names
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_list, item_object, kind_of_value, part_object
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport, ZeroPolicy
from cluster_sim.workload.readers.request_records import time_ns, tokens
from cluster_sim.workload.readers.session_reader import SessionReader
from cluster_sim.workload.readers.text_lengths import content_text, text_tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn

_TEXTS: Final = ("prompt", "text", "text_input", "texts")
_LENGTHS: Final = ("output_length", "output_tokens", "max_completion_tokens", "max_tokens")
_OTHERS: Final = ("messages", "turns", "session_id", "timestamp", "delay", "type", "role", "id")
_MS: Final = 0.001


class PromptsFormat(TraceFormatOptions):
    """JSON lines of prompt, text, text_input or messages, or of turns of them, as AIPerf, SGLang and vLLM read them."""

    kind: Literal["prompts"] = "prompts"
    output_tokens: int | None = Field(
        default=None, ge=1, le=MOST_ITEMS, description="Output tokens of requests that name none themselves."
    )


@TRACE_READERS.register("prompts", PromptsFormat)
class PromptsReader(SessionReader):
    """Times, where there are some, are ms."""

    options: PromptsFormat
    unit_s = _MS
    heeds = frozenset({"timestamp_unit_s"})
    names = (*_TEXTS[:3], "messages", "turns", "output_length")
    sample = (
        b'{"session_id": "a", "turns": [{"text": "How far is it?", "output_length": 9, "timestamp": 0}, '
        b'{"text": "And the sun?", "output_length": 7, "delay": 500}]}\n'
        b'{"messages": [{"role": "user", "content": "Hello world!"}], "max_tokens": 5, "timestamp": 9}\n'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first line is a prompt, and not a request with lengths or of a batch."""
        first = head.lstrip().split(b"\n", 1)[0]
        marks = (*_TEXTS, "messages", "turns", "payload")
        others = (b'"input_length"', b'"conversations"', b'"custom_id"', b'"spans"', b'"requests"', b'"metadata"')
        is_prompt = any(f'"{mark}"'.encode() in first for mark in marks)
        is_line = first.startswith(b"{") and is_prompt and not any(mark in first for mark in others)
        return is_line or (head.lstrip().startswith(b"{") and b'"data"' in head and b'"payloads"' in head)

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the sessions in order of their first lines."""
        policy = ZeroPolicy.of(options)
        sessions: list[RecordedSession] = []
        by_name: dict[str, RecordedSession] = {}
        for place, row in _rows(path):
            if "turns" in row:
                report.note(row, _OTHERS)
            name = row.get("session_id")
            if name is not None and (isinstance(name, bool) or not isinstance(name, str | int)):
                raise place.error(f"a {kind_of_value(name)} where a text is expected", "session_id")
            session = by_name.get(str(name)) if name is not None else None
            if session is None:
                session = RecordedSession(None, where=f"line {place.line}")
                sessions.append(session)
                if name is not None:
                    by_name[str(name)] = session
            for turn_row in self._turns(place, row):
                report.rows += 1
                self._add(place, turn_row, session, (policy, options, report))
        if not report.rows:
            raise InputError(f"{path}: no rows")
        return [session for session in sessions if session.turns]

    def _turns(self, place: Place, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the turns of a line; a request that is sent as it stands is a turn, too."""
        if "payload" in row:
            yield {
                **{key: value for key, value in row.items() if key != "payload"},
                **part_object(place, row, "payload"),
            }
            return
        if "turns" not in row:
            yield row
            return
        for turn in item_list(place, row, "turns"):
            yield item_object(place, turn, "turns")

    def _add(
        self,
        place: Place,
        row: dict[str, Any],
        session: RecordedSession,
        reading: tuple[ZeroPolicy, ReadOptions, ReadReport],
    ) -> None:
        """Add a turn to its session."""
        policy, options, report = reading
        used = {*_TEXTS, *_LENGTHS, *_OTHERS}
        report.note(row, used)
        prompt, answer = _prompt(place, row, report)
        output = self._output(place, row, answer, report)
        lengths = policy.lengths(prompt, output, report, place.here)
        start_ns = _time(place, row, "timestamp", options)
        delay_ns = _time(place, row, "delay", options)
        if not session.turns and session.start_ns is None:
            session.start_ns = start_ns
        if lengths is None:
            return
        is_first = not session.turns
        turn = RecordedTurn(*lengths, after=len(session.turns) - 1, is_whole="messages" in row)
        if not is_first:
            turn.delay_ns = delay_ns or 0
            turn.start_ns = start_ns if delay_ns is None else None
        session.turns.append(turn)

    def _output(self, place: Place, row: dict[str, Any], answer: str | None, report: ReadReport) -> int:
        """Return the output tokens: of the answer in the file, the row's own number, or the format's."""
        if answer is not None:
            return text_tokens(answer, report, "answers")
        name = next((name for name in _LENGTHS if row.get(name) is not None), None)
        if name is not None:
            return tokens(place, row, name)
        if self.options.output_tokens is not None:
            return self.options.output_tokens
        raise place.error(
            f"none of {', '.join(_LENGTHS)} says how long the answer is; give "
            "format: {kind: prompts, output_tokens: 200}"
        )


def _rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the lines, or the sessions of AIPerf's inputs.json: a list ``data``, each with its ``payloads``."""
    for place, item in json_items(path):
        row = item_object(place, item)
        if "data" not in row:
            yield place, row
            continue
        for entry in item_list(place, row, "data"):
            session = item_object(place, entry, "data")
            yield place, {"session_id": session.get("session_id"), "turns": item_list(place, session, "payloads")}


def _time(place: Place, row: dict[str, Any], field: str, options: ReadOptions) -> int | None:
    return None if row.get(field) is None else time_ns(place, row, field, options.timestamp_unit_s or _MS)


def _prompt(place: Place, row: dict[str, Any], report: ReadReport) -> tuple[int, str | None]:
    """Return the tokens of a prompt, and the answer where the messages end with one."""
    if row.get("messages") is not None:
        messages = [item_object(place, one, "messages") for one in item_list(place, row, "messages")]
        texts = [content_text(place, one.get("content"), "messages") for one in messages]
        has_answer = len(messages) > 1 and messages[-1].get("role") == "assistant"
        asked = texts[:-1] if has_answer else texts
        return sum(text_tokens(text, report, "messages") for text in asked), texts[-1] if has_answer else None
    name = next((name for name in _TEXTS if row.get(name) is not None), None)
    if name is None:
        raise place.error(f"has none of {', '.join((*_TEXTS, 'messages', 'turns'))}; there are: {shown_names(row)}")
    return text_tokens(content_text(place, row[name], name), report, "prompts"), None
