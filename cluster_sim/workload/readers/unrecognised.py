"""Message about a file that no format recognises: what it has, and the format that is nearest."""

import csv
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cluster_sim.workload.files.file_access import shown
from cluster_sim.workload.readers.reader_interface import TraceReader

_KEY: Final = re.compile(rb'"([^"\\\n]{1,80})"\s*:')
_SHOWN: Final = 240
"""Characters of a list of names."""
_ALIKE: Final = 0.75


def unrecognised(path: Path, head: bytes, readers: Mapping[str, TraceReader]) -> str:
    """Return the message about a file that starts with ``head``; empty for a folder."""
    known = ", ".join(readers)
    if not head:
        return f"{path}: is a folder, not a trace of a known format; not recognised as any of {known}"
    names = names_in(head)
    text = f"{path}: not recognised as any of {known}"
    if names:
        text += f"; it begins with: {_listed(names)}"
    nearest = _nearest(names, readers)
    if nearest:
        lacking = [name for name in readers[nearest].names if _normal(name) not in set(map(_normal, names))]
        text += f"; nearest is {nearest}, of which {_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
    return f"{text}; name the format with format, or the file's own columns with columns"


def names_in(head: bytes) -> list[str]:
    """Return the columns of a CSV header or the keys of the first JSON object; empty where there are neither."""
    start = head.lstrip()
    if start[:1] in {b"{", b"["}:
        return _keys(start)
    line = start.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    try:
        cells = next(csv.reader([line]), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells if cell.strip()] if line.isprintable() else []


def _keys(start: bytes) -> list[str]:
    first = start.split(b"\n", 1)[0]
    for text in (first, start):
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, list) and value:
            value = value[0]
        return list(value) if isinstance(value, dict) else []
    found = (match.group(1).decode("utf-8", "replace") for match in _KEY.finditer(start))
    return list(dict.fromkeys(found))


def _nearest(names: Sequence[str], readers: Mapping[str, TraceReader]) -> str | None:
    """Return the format with the most names that the file has, exactly or nearly; None if it has none of any."""
    given = [_normal(name) for name in names]

    def likeness(reader: TraceReader) -> float:
        close = (difflib.get_close_matches(_normal(name), given, n=1, cutoff=_ALIKE) for name in reader.names)
        total = sum(
            1.0 if found[0] == _normal(name) else 0.5 for name, found in zip(reader.names, close, strict=True) if found
        )
        return total / len(reader.names) if reader.names else 0.0

    scores = {name: likeness(reader) for name, reader in readers.items()}
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0 else None


def _normal(name: str) -> str:
    return name.strip().casefold().replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(shown(name) for name in names)
    return text if len(text) <= _SHOWN else text[:_SHOWN].rsplit(", ", 1)[0] + ", ..."
