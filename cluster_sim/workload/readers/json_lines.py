"""JSON lines of requests with prefix hashes, as several formats have them.

Each line is an object with a time, two lengths and, optionally, one hash for every block of the prompt.  Hashes are
chained: an equal hash means an equal prompt up to there, so they become the prompt's shared segments.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.file_access import read_head, read_lines
from cluster_sim.workload.readers.json_rows import Place, number, parse_object
from cluster_sim.workload.readers.reader_interface import (
    ReadOptions,
    ReadReport,
    TraceReader,
    ZeroPolicy,
    without_zeros,
)
from cluster_sim.workload.readers.request_fields import RequestFields
from cluster_sim.workload.readers.session_lines import SESSION_FIELDS, SessionLines
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sessions.recorded_session import RecordedSession

_ROWS: Final = 4096


class _Chats:
    """Follows parent links, so that every turn knows its conversation and its place in it."""

    def __init__(self) -> None:
        self._roots: dict[int, tuple[int, int]] = {}

    def place_of(self, place: Place, row: dict[str, Any]) -> tuple[int, int]:
        """Return (session id, turn) of a line."""
        chat = int(number(place, row, "chat_id", 0, 2**62, whole=True))
        parent = int(number(place, row, "parent_chat_id", -1, 2**62, whole=True))
        if chat in self._roots:
            raise place.error(f"{chat} is there twice", "chat_id")
        root, turn = self._roots.get(parent, (chat, -1))
        self._roots[chat] = (root, turn + 1)
        return root, turn + 1


class JsonLinesReader(TraceReader):
    """Reads the lines; a format is a subclass with its units."""

    unit_s: float
    """Seconds per unit of the timestamp, unless the study says otherwise."""
    names: ClassVar[tuple[str, ...]] = ("timestamp", "input_length", "output_length", "hash_ids")
    block_tokens: ClassVar[int]
    """Tokens per prefix hash, unless the study says otherwise."""
    has_chats: ClassVar[bool] = False
    """Whether lines have a chat and its parent, so that they are turns of conversations."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the first line has a length, and a chat if the format has them."""
        first = head.lstrip().split(b"\n", 1)[0]
        is_request = first.startswith(b"{") and b'"input_length"' in first
        return is_request and (b'"chat_id"' in first) == self.has_chats

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order."""
        if self.holds_sessions(path):
            raise InputError(f"{path}: rows with session_id or delay are turns of sessions, not requests by themselves")
        policy = ZeroPolicy.of(options)
        place = Place(path)
        fields = self._fields(options, place, report)
        sides = {"prompt": fields.prompt, "output": fields.output}
        rows: list[tuple[int, int, int, Attributes]] = []
        lines: list[int] = []

        def where(row: int, side: str) -> str:
            return f"{path}: line {lines[row]}, field '{sides[side]}'"

        for row in self._rows(path, options, place, fields):
            rows.append(row)
            lines.append(place.line)
            if len(rows) == _ROWS:
                report.rows += len(rows)
                yield without_zeros(_columns(rows), policy, report, where)
                rows, lines = [], []
        if rows:
            report.rows += len(rows)
            yield without_zeros(_columns(rows), policy, report, where)
        if report.rows == 0:
            raise InputError(f"{path}: no rows")

    def _rows(
        self, path: Path, options: ReadOptions, place: Place, fields: RequestFields
    ) -> Iterator[tuple[int, int, int, Attributes]]:
        chats = _Chats() if self.has_chats else None
        if chats:
            fields.knows(*_CHAT_FIELDS)
        for count, (place.line, line) in enumerate(read_lines(path)):
            if not line.strip():
                continue
            row = parse_object(place, line)
            if fields.note(row):
                _refuse_late_session(place, row)
            arrival = fields.time_ns(row)
            prompt, output = fields.lengths(row)
            segments = fields.segments(row, prompt, count) if options.prefixes else ()
            session, turn = chats.place_of(place, row) if chats else (-1, 0)
            plain = not segments and session < 0
            yield (
                arrival,
                prompt,
                output,
                (NO_ATTRIBUTES if plain else Attributes(session_id=session, turn=turn, segments=segments)),
            )

    def _fields(self, options: ReadOptions, place: Place, report: ReadReport) -> RequestFields:
        return RequestFields(self.unit_s, self.block_tokens, options, (place, report))

    def holds_sessions(self, path: Path) -> bool:
        """Return whether one of the first lines names a session or a delay."""
        head = read_head(path)
        return not self.has_chats and (b'"session_id"' in head or b'"delay"' in head)

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the sessions, each with its rows as turns."""
        place = Place(path)
        lines = SessionLines(self._fields(options, place, report), place, options, report)
        return lines.read(path, getattr(self.options, "turn_lengths", "auto"))


def _refuse_late_session(place: Place, row: dict[str, Any]) -> None:
    """Refuse a row with the fields of a session in a file that began without."""
    for name in SESSION_FIELDS:
        if name in row:
            raise place.error("makes the row a turn of a session, but the file begins with rows that are none", name)


_CHAT_FIELDS: Final = ("chat_id", "parent_chat_id")


def _columns(rows: list[tuple[int, int, int, Attributes]]) -> Columns:
    arrival, prompt, output, attributes = zip(*rows, strict=True)
    return Columns(
        np.asarray(arrival, dtype=np.int64),
        np.asarray(prompt, dtype=np.int64),
        np.asarray(output, dtype=np.int64),
        None if all(row is NO_ATTRIBUTES for row in attributes) else list(attributes),
    )
