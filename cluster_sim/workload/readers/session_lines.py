"""JSON lines with ``session_id`` and ``delay``: rows that are turns of sessions.

A row with a delay starts that long after its session's row before has ended; one with a time and no delay starts then,
or when the row before has ended.  Lengths are the new tokens of a turn, beside the history, unless every turn's hashes
begin with those of the turn before: then they are the whole prompt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from cluster_sim.errors import InputError
from cluster_sim.workload.files.file_access import read_lines
from cluster_sim.workload.readers.json_rows import Place, kind_of_value, number, parse_object
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport, ZeroPolicy
from cluster_sim.workload.readers.request_fields import RequestFields
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn

SESSION_FIELDS: Final = ("session_id", "delay")
TurnLengths = Literal["auto", "new", "whole"]


class SessionLines:
    """Reads the rows of one file as sessions."""

    def __init__(self, fields: RequestFields, place: Place, options: ReadOptions, report: ReadReport) -> None:
        self._fields, self._place, self._options, self._report = fields, place, options, report
        self._policy = ZeroPolicy.of(options)
        self._sessions: list[RecordedSession] = []
        self._by_name: dict[str | int, RecordedSession] = {}
        self._last_hashes: dict[str | int, tuple[list[int], int]] = {}
        self._extended: list[int] = []
        """Lines whose hashes begin with those of the turn before."""
        self._fresh: list[int] = []
        """Lines whose hashes do not."""
        fields.knows(*SESSION_FIELDS)

    def read(self, path: Path, turn_lengths: TurnLengths) -> list[RecordedSession]:
        """Return the sessions in order of their first rows."""
        for count, (self._place.line, line) in enumerate(read_lines(path)):
            if line.strip():
                self._take(parse_object(self._place, line), count)
        if not self._report.rows:
            raise InputError(f"{path}: no rows")
        self._say_what_lengths_are(path, turn_lengths)
        return [session for session in self._sessions if session.turns]

    def _take(self, row: dict[str, Any], count: int) -> None:
        """Add a row to its session."""
        self._fields.note(row)
        self._report.rows += 1
        name = self._name(row)
        session = None if name is None else self._by_name.get(name)
        lengths = self._lengths(row)
        is_first = session is None
        if session is None:
            start_ns = self._fields.time_ns(row) if self._has_time(row) else None
            session = RecordedSession(start_ns, where=f"line {self._place.line}")
            self._sessions.append(session)
            if name is not None:
                self._by_name[name] = session
        turn = RecordedTurn(*(lengths or (0, 0)))
        self._set_start(turn, row, is_first=is_first)
        if lengths is None:
            return
        if self._options.prefixes:
            turn.segments = self._fields.segments(row, turn.prompt_tokens, count)
        if name is not None:
            self._compare(name, row, turn, is_first=is_first)
        turn.after = len(session.turns) - 1
        session.turns.append(turn)

    def _name(self, row: dict[str, Any]) -> str | int | None:
        name = row.get("session_id")
        if name is None:
            if "delay" in row:
                raise self._place.error(
                    "needs a session_id: it counts from the end of the session's turn before", "delay"
                )
            return None
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise self._place.error(f"a {kind_of_value(name)} where a text or a whole number is expected", "session_id")
        return name

    def _has_time(self, row: dict[str, Any]) -> bool:
        return row.get(self._fields.timestamp) is not None

    def _set_start(self, turn: RecordedTurn, row: dict[str, Any], *, is_first: bool) -> None:
        """Set when a turn starts: by its delay, else at its time, else with the end of the turn before."""
        delay_ns = None
        if row.get("delay") is not None:
            most = self._fields.most_units
            delay_ns = round(number(self._place, row, "delay", 0, most, whole=False) * self._fields.unit_ns)
        if is_first:
            if delay_ns is not None and delay_ns > 0:
                self._report.changed["delays of first turns left out: they follow no turn"] += 1
            return
        turn.delay_ns = delay_ns or 0
        if self._has_time(row):
            time_ns = self._fields.time_ns(row)
            if delay_ns is None:
                turn.start_ns = time_ns
            else:
                self._report.changed["timestamps left out: the turns start by their delay"] += 1

    def _lengths(self, row: dict[str, Any]) -> tuple[int, int] | None:
        """Return prompt and output tokens; None for a row to skip."""
        prompt, output = self._fields.lengths(row)
        return self._policy.lengths(prompt, output, self._report, self._place.here)

    def _compare(self, name: str | int, row: dict[str, Any], turn: RecordedTurn, *, is_first: bool) -> None:
        """Compare a turn's hashes with those of the turn before."""
        hashes = row.get(self._fields.hashes)
        before, tokens = self._last_hashes.get(name, ([], 0))
        self._last_hashes[name] = (hashes if isinstance(hashes, list) else [], turn.prompt_tokens)
        whole = before[: tokens // self._fields.block]
        if is_first or not whole or not isinstance(hashes, list):
            return
        is_extended = turn.prompt_tokens >= tokens and hashes[: len(whole)] == whole
        (self._extended if is_extended else self._fresh).append(self._place.line)

    def _say_what_lengths_are(self, path: Path, turn_lengths: TurnLengths) -> None:
        if turn_lengths == "auto" and self._extended and self._fresh:
            raise InputError(
                f"{path}: line {self._extended[0]}: the hashes begin with those of the session's turn before, as those "
                f"of a whole prompt do, but on line {self._fresh[0]} they do not; say what input_length is with "
                "format: {kind: mooncake, turn_lengths: new} or whole"
            )
        is_whole = turn_lengths == "whole" or (turn_lengths == "auto" and bool(self._extended))
        later = sum(len(session.turns) - 1 for session in self._sessions if session.turns)
        if later:
            self._report.changed[
                "turns after a first one whose input_length is the whole prompt, as their hashes say"
                if is_whole
                else "turns after a first one whose input_length is new tokens, beside the session's history"
            ] += later
        for turn in _later_turns(self._sessions):
            turn.is_whole = is_whole


def _later_turns(sessions: Sequence[RecordedSession]) -> list[RecordedTurn]:
    return [turn for session in sessions for turn in session.turns[1:]]
