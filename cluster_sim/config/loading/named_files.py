"""Files that a study names: what they hold, and paths to them that stay right where a folder is moved as a whole.

A checked study has whole paths.  They say where a file lies today, not what a run computes, so the configuration hash
counts the content instead, as it does for documents (``named_document.py``).
"""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from cluster_sim.options import WRITE_PATH, WritePath


def movable(folder: Path, root: Path) -> WritePath:
    """Return what writes the paths of files below ``root`` as seen from ``folder``, and leaves others whole."""
    start, top = folder.resolve(), root.resolve()
    return lambda path: os.path.relpath(path, start) if path.is_relative_to(top) else str(path)


def files_named_by(study: BaseModel) -> list[Path]:
    """Return the files and folders that a checked study names, in a fixed order."""
    found: set[Path] = set()

    def note(path: Path) -> str:
        found.add(path)
        return str(path)

    study.model_dump(mode="json", context={WRITE_PATH: note})
    return sorted(found)


def content_of(path: Path) -> str:
    """Return a hash of what a file holds, or the files of a folder with their names; its path if it is unreadable."""
    try:
        files = tuple(files_of(path))
        return _hashed(path, files, tuple(map(_state, files)))
    except OSError:
        return str(path)


@lru_cache(maxsize=256)
def _hashed(path: Path, files: tuple[Path, ...], states: tuple[tuple[int, int], ...]) -> str:  # noqa: ARG001 - a key
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as source:
            name = str(file.relative_to(path)) if file != path else ""
            digest.update(f"{name}\0".encode() + hashlib.file_digest(source, "sha256").digest())
    return digest.hexdigest()


def files_of(path: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder in a fixed order."""
    if path.is_dir():
        yield from sorted(child for child in path.rglob("*") if child.is_file())
    else:
        yield path


def _state(file: Path) -> tuple[int, int]:
    """Return what changes when a file does: a hash is computed once for each."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns
