"""Keys of a sweep whose list items are named: each becomes the key by index, which hashes and ids are made of."""

import re
from collections.abc import Iterator
from typing import Any

from cluster_sim.config.loading.overrides import indexed_key
from cluster_sim.document import Document, KeyPath
from cluster_sim.errors import InputError


def index_sweep_keys(document: Document) -> None:
    """Rename the keys of a document's sweep block in place, in its conditions too; others stay as they are.

    Raises InputError for a block that has one key by name and by index.
    """
    sweep = document.data.get("sweep")
    if not isinstance(sweep, dict):
        return
    renamed: dict[str, str] = {}
    for path, block in _blocks(sweep):
        found = {key: indexed_key(document.data, str(key)) for key in block}
        changed = {key: index for key, index in found.items() if index != str(key)}
        for key, index in changed.items():
            if index in block:
                raise InputError(f"{document.where((*path, key))}: {key} and {index} are the same key: give it once")
        if changed:
            values = {changed.get(key, key): value for key, value in block.items()}
            block.clear()
            block.update(values)
            _move_places(document, path, changed)
            renamed |= changed
    where = sweep.get("where")
    if renamed and isinstance(where, list):
        sweep["where"] = [_renamed(text, renamed) if isinstance(text, str) else text for text in where]


def _blocks(sweep: dict[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the mappings whose keys are keys of the study, with their paths."""
    sample = sweep.get("sample")
    found: list[tuple[KeyPath, Any]] = [(("sweep", name), sweep.get(name)) for name in ("grid", "zip")]
    if isinstance(sample, dict):
        found.append((("sweep", "sample", "ranges"), sample.get("ranges")))
    entries = sweep.get("list")
    if isinstance(entries, list):
        found += [(("sweep", "list", number), entry) for number, entry in enumerate(entries)]
    yield from ((path, block) for path, block in found if isinstance(block, dict))


def _move_places(document: Document, path: KeyPath, changed: dict[str, str]) -> None:
    """Let the places of renamed keys be those of the keys that were written."""
    depth = len(path)
    for known in [known for known in document.places if known[:depth] == path and len(known) > depth]:
        index = changed.get(str(known[depth]))
        if index is not None:
            document.places[(*path, index, *known[depth + 1 :])] = document.places.pop(known)


def _renamed(condition: str, renamed: dict[str, str]) -> str:
    for key, index in renamed.items():
        condition = re.sub(rf"(?<![\w.]){re.escape(key)}(?![\w.-])", index.replace("\\", r"\\"), condition)
    return condition
