"""ShareGPT JSON, a list or one conversation a line: every answered turn is a request, later ones carry the history.

Lengths are taken from ``tokens`` of a turn where the file has them, otherwise estimated as a quarter of the
characters, and the estimate is reported.  The file has no times: conversations start by ``workload.arrivals``, and a
turn follows ``think_time_s`` after the answer before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place
from cluster_sim.workload.readers.reader_interface import NO_TIME, ReadOptions, ReadReport, TraceReader, ZeroPolicy
from cluster_sim.workload.readers.text_lengths import content_text, text_tokens
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn

_ROWS: Final = 4096
_KNOWN: Final = ("id", "conversations")
_ANSWERS: Final = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "model", "bot"})


class ShareGptFormat(TraceFormatOptions):
    """JSON list or lines of conversations, whose turns are kept; it has no times, so give arrivals."""

    kind: Literal["sharegpt"] = "sharegpt"
    turns: Literal["all", "first"] = Field(
        default="all", description="All answered turns as a session, or the first two as one request, as vLLM does."
    )
    think_time_s: float = Field(
        default=0.0, ge=0, le=LONGEST_RUN_S, description="From the end of an answer to the next turn, seconds."
    )


@TRACE_READERS.register("sharegpt", ShareGptFormat)
class ShareGptReader(TraceReader):
    """Reads conversations one at a time, so memory is bounded by the longest."""

    options: ShareGptFormat
    has_times = False
    heeds = frozenset()
    names = ("conversations",)
    sample = (
        b'[{"id": "a", "conversations": [{"from": "human", "value": "hi there"}, {"from": "gpt", "value": "hello"}]}, '
        b'{"id": "b", "conversations": [{"from": "human", "tokens": 7}, {"from": "gpt", "tokens": 9}]}]'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file is a JSON list or lines of conversations."""
        return head.lstrip()[:1] in {b"[", b"{"} and b'"conversations"' in head

    @property
    def without_sessions(self) -> str:
        """What makes one request of each conversation."""
        return "; format: {kind: sharegpt, turns: first} makes one request of each"

    def holds_sessions(self, path: Path) -> bool:
        """Return whether some conversation has a second answer."""
        if self.options.turns == "first":
            return False
        return any(len(_answered(turns)) > 1 for _, turns in _conversations(path))

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the conversations as sessions without times."""
        think_ns = round(self.options.think_time_s * NS_PER_S)
        sessions = []
        for place, turns in _conversations(path, report):
            report.rows += 1
            session = RecordedSession(None)
            for asked, answer in _answered(turns):
                lengths = _lengths(place, turns, (asked, answer), options, report)
                if lengths is not None:
                    delay_ns = think_ns if session.turns else 0
                    session.turns.append(RecordedTurn(*lengths, None, delay_ns, len(session.turns) - 1))
            if session.turns:
                sessions.append(session)
            elif len(turns) < 2:
                report.skipped["conversations of fewer than two turns"] += 1
        _refuse_emptiness(path, report)
        return sessions

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield one row a conversation in file order, without times."""
        rows: list[tuple[int, int]] = []
        for place, turns in _conversations(path, report):
            report.rows += 1
            if len(turns) < 2:
                report.skipped["conversations of fewer than two turns"] += 1
                continue
            lengths = _lengths(place, turns, ([0], 1), options, report)
            if lengths is not None:
                rows.append(lengths)
            if len(rows) == _ROWS:
                yield _columns(rows)
                rows = []
        if rows:
            yield _columns(rows)
        _refuse_emptiness(path, report)


def _refuse_emptiness(path: Path, report: ReadReport) -> None:
    if report.rows == 0:
        raise InputError(f"{path}: an empty list")


def _conversations(path: Path, report: ReadReport | None = None) -> Iterator[tuple[Place, list[Any]]]:
    """Yield (place, turns) of every conversation; the report learns of fields that are not used."""
    for place, item in json_items(path):
        if report is not None and isinstance(item, dict):
            report.note(item, _KNOWN)
        turns = item.get("conversations") if isinstance(item, dict) else None
        if not isinstance(turns, list):
            raise place.error("no list 'conversations'")
        yield place, turns


def _role(turn: Any) -> str:
    role = (turn.get("from") or turn.get("role")) if isinstance(turn, dict) else None
    return role if isinstance(role, str) else ""


def _answered(turns: list[Any]) -> list[tuple[list[int], int]]:
    """Return (indices of what is asked, index of the answer) of every answered turn.

    Roles tell answers in conversations of more than two turns that name them; else every second turn is one.
    """
    has_roles = len(turns) > 2 and any(_role(turn) in _ANSWERS for turn in turns)
    pairs: list[tuple[list[int], int]] = []
    asked: list[int] = []
    for index, turn in enumerate(turns):
        is_answer = _role(turn) in _ANSWERS if has_roles else index % 2 == 1
        if is_answer and asked:
            pairs.append((asked, index))
            asked = []
        else:
            asked.append(index)
    return pairs


def _lengths(
    place: Place, turns: list[Any], pair: tuple[list[int], int], options: ReadOptions, report: ReadReport
) -> tuple[int, int] | None:
    """Return prompt and output tokens of one answered turn; None for one to skip."""
    asked, answer = pair
    prompt = sum(_length(place, index, turns[index], report) for index in asked)
    output = _length(place, answer, turns[answer], report)
    if prompt and output:
        return prompt, output
    choice = ZeroPolicy.of(options, "skip", "skip").output
    if choice == "refuse":
        raise place.error("an empty turn; zero_tokens: skip or one says what to do with such conversations")
    if choice == "skip":
        report.skipped["conversations with an empty turn"] += 1
        return None
    report.changed["conversations with an empty turn taken as 1 token"] += 1
    return max(prompt, 1), max(output, 1)


def _columns(rows: list[tuple[int, int]]) -> Columns:
    both = np.asarray(rows, dtype=np.int64)
    return Columns(np.full(len(both), NO_TIME, dtype=np.int64), both[:, 0].copy(), both[:, 1].copy())


def _length(place: Place, index: int, turn: Any, report: ReadReport) -> int:
    where = f"turn {index}"
    if not isinstance(turn, dict):
        raise InputError(f"{place.here()}, {where}: not an object with 'from' and 'value'")
    tokens = turn.get("tokens")
    if tokens is not None:
        if type(tokens) is not int or not 0 <= tokens <= MOST_TOKENS_IN_FILE:
            raise InputError(f"{place.here()}, {where}: 'tokens' must be a whole number of 0 or more")
        return tokens
    text = turn.get("value", turn.get("content"))
    if text is None or not isinstance(text, str | list):
        raise InputError(f"{place.here()}, {where}: neither a text 'value' nor a number 'tokens'")
    return text_tokens(content_text(place, text, "value"), report, "turns")
