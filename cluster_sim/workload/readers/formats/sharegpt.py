"""ShareGPT JSON: a list of conversations; the first two turns give prompt and output, as in ``vllm bench serve``.

Lengths are taken from ``tokens`` of a turn where the file has them, otherwise estimated as a quarter of the
characters, and the estimate is reported.  The file has no times.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.files.file_access import broken_stream, open_input
from cluster_sim.workload.readers.reader import NO_TIME, ReadOptions, ReadReport, TraceReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions

_CHARACTERS_PER_TOKEN: Final = 4
_READ_BYTES: Final = 1 << 20
_LONGEST_ITEM: Final = 16 << 20
_ROWS: Final = 4096
_SKIPPED: Final = re.compile(r"[ \t\r\n,]*")


class ShareGptFormat(TraceFormatOptions):
    """JSON list of conversations, of which the first two turns count; it has no times, so give arrivals."""

    kind: Literal["sharegpt"] = "sharegpt"


@TRACE_READERS.register("sharegpt", ShareGptFormat)
class ShareGptReader(TraceReader):
    """Reads conversations one at a time, so memory is bounded by the longest."""

    has_times = False
    sample = (
        b'[{"id": "a", "conversations": [{"from": "human", "value": "hi there"}, {"from": "gpt", "value": "hello"}]}, '
        b'{"id": "b", "conversations": [{"from": "human", "tokens": 7}, {"from": "gpt", "tokens": 9}]}]'
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file is a JSON list of conversations."""
        return head.lstrip().startswith(b"[") and b'"conversations"' in head

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order, without times."""
        rows: list[tuple[int, int]] = []
        skip_empty = options.zero_output in {"auto", "skip"}
        for number, item in enumerate(_items(path)):
            report.rows += 1
            turns = item.get("conversations") if isinstance(item, dict) else None
            if not isinstance(turns, list):
                raise InputError(f"{path}: item {number}: no list 'conversations'")
            if len(turns) < 2:
                report.skipped["conversations of fewer than two turns"] += 1
                continue
            prompt, output = (_length(f"{path}: item {number}, turn {turn}", turns[turn], report) for turn in (0, 1))
            if prompt == 0 or output == 0:
                if options.zero_output == "refuse":
                    raise InputError(f"{path}: item {number}: an empty turn; zero_output: skip or one")
                if skip_empty:
                    report.skipped["conversations with an empty turn"] += 1
                    continue
                report.changed["conversations with an empty turn taken as 1 token"] += 1
            rows.append((max(prompt, 1), max(output, 1)))
            if len(rows) == _ROWS:
                yield _columns(rows)
                rows = []
        if rows:
            yield _columns(rows)
        if report.rows == 0:
            raise InputError(f"{path}: an empty list")


def _columns(rows: list[tuple[int, int]]) -> Columns:
    both = np.asarray(rows, dtype=np.int64)
    return Columns(np.full(len(both), NO_TIME, dtype=np.int64), both[:, 0].copy(), both[:, 1].copy())


def _length(where: str, turn: Any, report: ReadReport) -> int:
    if not isinstance(turn, dict):
        raise InputError(f"{where}: not an object with 'from' and 'value'")
    tokens = turn.get("tokens")
    if tokens is not None:
        if type(tokens) is not int or not 0 <= tokens <= MOST_TOKENS_IN_FILE:
            raise InputError(f"{where}: 'tokens' must be a whole number of 0 or more")
        return tokens
    text = turn.get("value")
    if not isinstance(text, str):
        raise InputError(f"{where}: neither a text 'value' nor a number 'tokens'")
    report.changed["turns whose tokens were estimated as a quarter of the characters"] += 1
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _items(path: Path) -> Iterator[Any]:
    """Yield the items of a JSON list, decoding each as soon as it is complete."""
    decoder = json.JSONDecoder()
    text = ""
    number = -1
    """Item to come; -1 before the list has begun."""
    for more in _text_chunks(path):
        text += more
        place = 0
        while True:
            blanks = _SKIPPED.match(text, place)
            place = blanks.end() if blanks else place
            if place == len(text):
                break
            if number < 0:
                if text[place] != "[":
                    raise InputError(f"{path}: not a JSON list of conversations")
                number, place = 0, place + 1
                continue
            if text[place] == "]":
                return
            try:
                item, end = decoder.raw_decode(text, place)
            except RecursionError:
                raise InputError(f"{path}: item {number}: nested too deeply") from None
            except ValueError:
                if len(text) - place > _LONGEST_ITEM:
                    raise InputError(f"{path}: item {number}: not JSON, or longer than {_LONGEST_ITEM} bytes") from None
                break
            if end == len(text) and not isinstance(item, dict | list):
                break
            yield item
            number, place = number + 1, end
        text = text[place:]
    raise InputError(f"{path}: item {max(number, 0)}: the JSON list is cut off or damaged here")


def _text_chunks(path: Path) -> Iterator[str]:
    rest = b""
    try:
        with open_input(path) as stream:
            while chunk := bytes(stream.read(_READ_BYTES)):
                whole = rest + chunk
                cut = len(whole)
                while cut > max(len(whole) - 4, 0) and whole[cut - 1] & 0xC0 == 0x80:
                    cut -= 1
                if cut and whole[cut - 1] >= 0xC0:
                    cut -= 1
                rest = whole[cut:]
                yield whole[:cut].decode("utf-8")
            yield rest.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except (OSError, pa.ArrowException) as error:
        raise broken_stream(path, error) from None
