"""JSON lines of requests with prefix hashes, as several formats have them.

Each line is an object with a time, two lengths and, optionally, one hash for every block of the prompt.  Hashes are
chained: an equal hash means an equal prompt up to there, so they become the prompt's shared segments.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.files.file_access import read_lines, shown, shown_names
from cluster_sim.workload.readers.reader import ReadOptions, ReadReport, TraceReader, without_outputs
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sampling.random_streams import stable_id

_ROWS: Final = 4096
_SMALL_ID: Final = 1 << 42
"""Hashes below this keep their value within the part's range of segment ids; others are hashed into it."""
_OWN: Final = 1 << 43


class _Place:
    """Place of a value in the file, for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0

    def here(self) -> str:
        return f"{self.path}: line {self.line}"

    def error(self, text: str, field: str | None = None) -> InputError:
        where = f", field '{field}'" if field else ""
        return InputError(f"{self.path}: line {self.line}{where}: {text}")


def parse_object(place: _Place, line: bytes) -> dict[str, Any]:
    """Return the line's JSON object; InputError for anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        text = line[:256].decode("utf-8", "replace")
        raise place.error(f"not a JSON object: '{shown(text)}'") from None
    if not isinstance(value, dict):
        raise place.error(f"a JSON {type(value).__name__} where an object is expected")
    return value


def _number(place: _Place, row: dict[str, Any], field: str, least: float, most: float, *, whole: bool) -> float:
    if field not in row:
        raise place.error(f"is missing; the line has: {shown_names(row)}", field)
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"'{shown(value)}' is not a number", field)
    if isinstance(value, float) and not math.isfinite(value):
        raise place.error(f"{value} is not a finite number", field)
    if not least <= value <= most:
        raise place.error(f"{shown(value)} is not between {least:g} and {most:g}", field)
    if whole and value != int(value):
        raise place.error(f"{value} is not a whole number of tokens", field)
    return value


class _Chats:
    """Follows parent links, so that every turn knows its conversation and its place in it."""

    def __init__(self) -> None:
        self._roots: dict[int, tuple[int, int]] = {}

    def place_of(self, place: _Place, row: dict[str, Any]) -> tuple[int, int]:
        """Return (session id, turn) of a line."""
        chat = int(_number(place, row, "chat_id", 0, 2**62, whole=True))
        parent = int(_number(place, row, "parent_chat_id", -1, 2**62, whole=True))
        if chat in self._roots:
            raise place.error(f"{chat} is there twice", "chat_id")
        root, turn = self._roots.get(parent, (chat, -1))
        self._roots[chat] = (root, turn + 1)
        return root, turn + 1


class JsonLinesReader(TraceReader):
    """Reads the lines; a format is a subclass with its units."""

    unit_s: ClassVar[float]
    """Seconds per unit of the timestamp, unless the study says otherwise."""
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
        policy = "refuse" if options.zero_output == "auto" else options.zero_output
        place = _Place(path)
        rows: list[tuple[int, int, int, Attributes]] = []
        for row in self._rows(path, options, place):
            rows.append(row)
            if len(rows) == _ROWS:
                yield without_outputs(_columns(rows), policy, report, lambda _: place.here())
                report.rows += len(rows)
                rows = []
        if rows:
            yield without_outputs(_columns(rows), policy, report, lambda _: place.here())
            report.rows += len(rows)
        if report.rows == 0:
            raise InputError(f"{path}: no rows")

    def _rows(self, path: Path, options: ReadOptions, place: _Place) -> Iterator[tuple[int, int, int, Attributes]]:
        label = {name: options.labels.get(name, name) for name in _LABELS}
        unit_ns = (options.timestamp_unit_s or self.unit_s) * NS_PER_S
        most_units = LONGEST_RUN_S * NS_PER_S / unit_ns
        block = options.block_tokens or self.block_tokens
        chats = _Chats() if self.has_chats else None
        least_output = 0 if options.zero_output in {"skip", "one"} else 1
        for number, (place.line, line) in enumerate(read_lines(path)):
            if not line.strip():
                continue
            row = parse_object(place, line)
            arrival = round(_number(place, row, label["timestamp"], 0, most_units, whole=False) * unit_ns)
            prompt = int(_number(place, row, label["input_length"], 1, MOST_TOKENS_IN_FILE, whole=True))
            output = int(_number(place, row, label["output_length"], least_output, MOST_TOKENS_IN_FILE, whole=True))
            hashes = row.get(label["hash_ids"]) if options.prefixes else None
            segments: tuple[tuple[int, int], ...] = ()
            if hashes:
                own = options.segment_base + _OWN + number
                segments = _segments(place, hashes, prompt, block, (options.segment_base, own), label["hash_ids"])
            session, turn = chats.place_of(place, row) if chats else (-1, 0)
            plain = not segments and session < 0
            yield (
                arrival,
                prompt,
                output,
                (NO_ATTRIBUTES if plain else Attributes(session_id=session, turn=turn, segments=segments)),
            )


_LABELS: Final = ("timestamp", "input_length", "output_length", "hash_ids")


def _segments(
    place: _Place, hashes: Any, prompt: int, block: int, bases: tuple[int, int], field: str
) -> tuple[tuple[int, int], ...]:
    """Return the prompt's content; a partial last block may lack its hash and is then the request's own."""
    if not isinstance(hashes, list) or not all(type(number) is int for number in hashes):
        raise place.error("is not a list of whole numbers", field)
    if not prompt // block <= len(hashes) <= -(-prompt // block):
        raise place.error(
            f"{len(hashes)} hashes of {block} tokens do not cover a prompt of {prompt} tokens "
            f"({-(-prompt // block)} are needed); is block_tokens right?",
            field,
        )
    base, own = bases
    ids = [base + number if 0 <= number < _SMALL_ID else stable_id("hash", base, number) for number in hashes]
    segments = [(segment, block) for segment in ids]
    left = prompt - len(ids) * block
    if left < 0:
        segments[-1] = (ids[-1], block + left)
    elif left > 0:
        segments.append((own, left))
    return tuple(segments)


def _columns(rows: list[tuple[int, int, int, Attributes]]) -> Columns:
    arrival, prompt, output, attributes = zip(*rows, strict=True)
    return Columns(
        np.asarray(arrival, dtype=np.int64),
        np.asarray(prompt, dtype=np.int64),
        np.asarray(output, dtype=np.int64),
        None if all(row is NO_ATTRIBUTES for row in attributes) else list(attributes),
    )
