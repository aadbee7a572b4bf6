"""Weka's traces of coding agents: conversations with the calls that each made, subagents included.

A call's ``in`` is its whole prompt, and ``hash_ids`` are the blocks of it.  A call waits for the one that had ended
last before it started; where ends are not recorded, for the one before, whose ``think_time`` is the delay.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_items import json_items
from cluster_sim.workload.readers.json_rows import Place, item_list, item_object, kind_of_value, number
from cluster_sim.workload.readers.reader_interface import MOST_SECONDS, ReadOptions, ReadReport, ZeroPolicy
from cluster_sim.workload.readers.recorded_calls import RecordedCall, link_calls
from cluster_sim.workload.readers.request_fields import hash_segments
from cluster_sim.workload.readers.session_reader import SessionReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.sampling.random_streams import stable_id
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn

_KNOWN: Final = {"id", "block_size", "hash_id_scope", "requests"}
_CALL_KNOWN: Final = {"t", "type", "in", "out", "hash_ids", "api_time", "think_time"}
_SUBAGENT_KNOWN: Final = {"t", "type", "requests"}
_OWN: Final = 1 << 43


class WekaFormat(TraceFormatOptions):
    """JSON conversations of Weka: id, block_size and requests of t (seconds), in, out, hash_ids, think_time."""

    kind: Literal["weka"] = "weka"


@TRACE_READERS.register("weka", WekaFormat)
class WekaReader(SessionReader):
    """Times are seconds; hashes are of ``block_size`` tokens, the conversation's own where their scope is local."""

    heeds = frozenset({"block_tokens"})
    names = ("id", "block_size", "requests")
    sample = (
        b'{"id": "a", "block_size": 4, "requests": [{"t": 0, "in": 8, "out": 2, "hash_ids": [1, 2], "api_time": 1}, '
        b'{"t": 3, "in": 9, "out": 2, "hash_ids": [1, 2, 3]}]}\n'
        b'{"id": "b", "block_size": 4, "requests": [{"t": 1, "in": 4, "out": 2, "hash_ids": [7]}]}'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether there are conversations with blocks and requests."""
        return head.lstrip()[:1] in {b"[", b"{"} and b'"block_size"' in head and b'"requests"' in head

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the conversations."""
        result = []
        names: set[str] = set()
        for number_of, (place, item) in enumerate(json_items(path)):
            conversation = item_object(place, item)
            place.must_be_new(conversation, "id", names)
            report.note(conversation, _KNOWN)
            session = _Conversation(place, conversation, options, report, number_of).session()
            if session is not None:
                result.append(session)
        if not report.rows:
            raise InputError(f"{path}: no rows")
        return result


class _Conversation:
    """Reads one conversation."""

    def __init__(
        self, place: Place, item: dict[str, Any], options: ReadOptions, report: ReadReport, number_of: int
    ) -> None:
        self._place, self._item, self._options, self._report = place, item, options, report
        self._policy = ZeroPolicy.of(options)
        self._block = options.block_tokens or int(number(place, item, "block_size", 1, MOST_TOKENS_IN_FILE, whole=True))
        self._is_local = item.get("hash_id_scope") == "local"
        self._number = number_of

    def session(self) -> RecordedSession | None:
        """Return the conversation as a session; None if none of its calls is left."""
        calls: list[tuple[float, RecordedCall, dict[str, Any]]] = []
        for start_s, row in self._rows(item_list(self._place, self._item, "requests"), 0.0):
            turn = self._turn(row)
            self._report.rows += 1
            if turn is not None:
                start_ns = round(start_s * NS_PER_S)
                took_s = self._seconds(row, "api_time") if row.get("api_time") is not None else 0.0
                calls.append((start_s, RecordedCall(start_ns, start_ns + round(took_s * NS_PER_S), turn), row))
        if not calls:
            return None
        calls.sort(key=lambda call: call[0])
        if all(row.get("api_time") is not None for _, _, row in calls[:-1]):
            turns = link_calls([call for _, call, _ in calls])
        else:
            turns = self._chain(calls)
        return RecordedSession(calls[0][1].start_ns, turns)

    def _chain(self, calls: list[tuple[float, RecordedCall, dict[str, Any]]]) -> list[RecordedTurn]:
        """Link calls whose ends were not recorded, each to the one before."""
        for index, (_, call, _) in enumerate(calls):
            call.turn.after = index - 1
            before = calls[index - 1][2] if index else {}
            if before.get("think_time") is not None:
                call.turn.delay_ns = round(self._seconds(before, "think_time") * NS_PER_S)
            else:
                call.turn.start_ns = call.start_ns
        return [call.turn for _, call, _ in calls]

    def _rows(self, items: list[Any], from_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield (start in s, call), those of subagents in their place; their times may count from the subagent's."""
        for item in items:
            row = item_object(self._place, item, "requests")
            start_s = self._seconds(row, "t")
            start_s = start_s if start_s >= from_s else start_s + from_s
            if row.get("type") == "subagent":
                self._report.note(row, _SUBAGENT_KNOWN, "requests.")
                yield from self._rows(item_list(self._place, row, "requests"), start_s)
            else:
                self._report.note(row, _CALL_KNOWN, "requests.")
                yield start_s, row

    def _seconds(self, row: dict[str, Any], field: str) -> float:
        return number(self._place, row, field, 0, MOST_SECONDS, whole=False)

    def _turn(self, row: dict[str, Any]) -> RecordedTurn | None:
        prompt, output = (
            int(number(self._place, row, field, 0, MOST_TOKENS_IN_FILE, whole=True)) for field in ("in", "out")
        )
        lengths = self._policy.lengths(prompt, output, self._report, self._place.here)
        if lengths is None:
            return None
        hashes = row.get("hash_ids")
        turn = RecordedTurn(*lengths, is_whole=True)
        if self._options.prefixes and hashes and prompt:
            if not isinstance(hashes, list) or any(type(one) is not int for one in hashes):
                wrong = kind_of_value(hashes)
                raise self._place.error(f"{wrong} where a list of whole numbers is expected", "hash_ids")
            names = [stable_id("weka", self._number, one) >> 18 for one in hashes] if self._is_local else hashes
            bases = (self._options.segment_base, self._options.segment_base + _OWN + self._report.rows)
            turn.segments = hash_segments(self._place, names, prompt, self._block, bases, "hash_ids")
        return turn
