"""Files that studies name, such as traces and tables: put into the object store once, and carried once to each node.

A task on the node of the driver reads its files where they are.  On another node the first process that needs one gets
its content from the node's object store and keeps it in a folder of its own while it lives.
"""

import dataclasses
import hashlib
from atexit import register
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ray
from pydantic import BaseModel

from cluster_sim.errors import InputError
from cluster_sim.own_folder import own_folder
from cluster_sim.shown_values import shown_path


class SentFile(NamedTuple):
    """A file, or a folder with all that is in it, in the object store."""

    key: str
    """Hash of its place and content."""
    reference: Any
    """To its content: the bytes of each file by its path in the folder, ``""`` for a single file."""


class SentFiles(NamedTuple):
    """The files that one task names."""

    node: str
    """Ray's id of the node where they are as they are named."""
    files: dict[str, SentFile]
    """By their whole paths."""


class FileStore:
    """The files that the tasks of one driver have named so far."""

    def __init__(self) -> None:
        self._sent: dict[str, SentFile] = {}

    def sent(self, task: Any) -> SentFiles:
        """Return the files that a task names, put into the object store if they are not there yet.

        A cluster of one node needs nothing.
        """
        node = _node()
        if sum(one["Alive"] for one in ray.nodes()) < 2:
            return SentFiles(node, {})
        return SentFiles(node, {name: self._put(name) for name in sorted(set(file_names(task)))})

    def _put(self, name: str) -> SentFile:
        known = self._sent.get(name)
        if known is None:
            content = _content(Path(name))
            digest = hashlib.blake2b(name.encode(), digest_size=16)
            for place, data in sorted(content.items()):
                digest.update(f"\n{place} {len(data)}\n".encode())
                digest.update(data)
            known = self._sent[name] = SentFile(digest.hexdigest(), ray.put(content))
        return known


def _node() -> str:
    name: str = ray.get_runtime_context().get_node_id()
    return name


def file_names(task: Any) -> Iterator[str]:
    """Yield the whole paths of files and folders that a task names."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _replaced(task, note)
    for name in found:
        path = Path(name)
        if path != Path(path.anchor) and path.exists():
            yield name


def with_own_files(task: Any, sent: SentFiles) -> Any:
    """Return a task that names the files as this node has them."""
    if not sent.files or _node() == sent.node:
        return task
    return _replaced(task, lambda text: str(_copy(Path(text), sent.files[text])) if text in sent.files else text)


def _replaced(value: Any, change: Callable[[str], str]) -> Any:
    """Return a task with every whole path in it changed; what has none is the same object."""
    if isinstance(value, str):
        return change(value) if value.startswith("/") else value
    if isinstance(value, Path):
        return Path(change(str(value))) if value.is_absolute() else value
    if isinstance(value, BaseModel):
        changed = _changes({name: getattr(value, name) for name in type(value).model_fields}, change)
        return value.model_copy(update=changed) if changed else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = _changes({one.name: getattr(value, one.name) for one in dataclasses.fields(value)}, change)
        return dataclasses.replace(value, **changed) if changed else value
    if isinstance(value, Mapping):
        changed = _changes(value, change)
        return {**value, **changed} if changed else value
    if isinstance(value, list | tuple):
        items = [_replaced(item, change) for item in value]
        if all(item is old for item, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _changes(values: Mapping[Any, Any], change: Callable[[str], str]) -> dict[Any, Any]:
    changed = {name: _replaced(value, change) for name, value in values.items()}
    return {name: value for name, value in changed.items() if value is not values[name]}


def _content(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files in a folder."""
    try:
        if path.is_file():
            return {"": path.read_bytes()}
        return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}
    except OSError as error:
        raise InputError(f"{shown_path(path)}: cannot be read: {error.strerror or error}") from error


def _copy(path: Path, file: SentFile) -> Path:
    """Return where this process has a file of another node; it is written when it is first asked for."""
    folder = _folder() / file.key
    place = folder / path.name
    if not folder.exists():
        folder.mkdir()
        for name, data in ray.get(file.reference).items():
            target = place / name if name else place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return place


@cache
def _folder() -> Path:
    """Return this process's folder of files, which is removed at its end; a killed one's is removed by the next."""
    stack = ExitStack()
    register(stack.close)
    return stack.enter_context(own_folder("files"))
