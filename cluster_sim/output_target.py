"""Files that a command is told to write: only what such a command has written is replaced."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster_sim.atomic_file import place_of
from cluster_sim.errors import InputError

_HEAD_BYTES: Final = 1 << 16
_PARQUET: Final = b"PAR1"
_LONGEST_FOOTER_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class FileKind:
    """Files of one kind, and how one is known."""

    noun: str
    begins: bytes
    holds: bytes = b""
    """What stands near the beginning, or, of Parquet files, in the metadata at the end."""

    def recognises(self, file: Path) -> bool:
        """Return whether a plain file is of this kind."""
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if not head.startswith(self.begins):
                return False
            if self.begins != _PARQUET:
                return self.holds in head
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 8, 0))
            length = int.from_bytes(stream.read(4), "little")
            if not 0 < length <= min(size, _LONGEST_FOOTER_BYTES):
                return False
            stream.seek(max(size - 8 - length, 0))
            return self.holds in stream.read(length)


PAGE: Final = FileKind("a page of cluster-sim", b"<!doctype html>", b"cluster_sim</title>")
TRACE: Final = FileKind("a trace of `workload convert`", _PARQUET, b"cluster_sim.times_of_a_run")
OPERATOR_PROFILE: Final = FileKind("an operator profile", _PARQUET, b"cluster_sim_profile")
FITTED_WORKLOAD: Final = FileKind("an output of `workload fit`", b"# Workload that cluster-sim workload fit wrote")
FITTED_PROFILE: Final = FileKind("a profile of `calibrate`", b"# Profile that cluster-sim calibrate wrote")


def check_target(
    target: Path, kind: FileKind, inputs: Iterable[str | Path] = (), *, is_folder_made: bool = False
) -> None:
    """Raise InputError unless a file may be written: nothing is there, an empty file, or one of the same kind.

    ``inputs`` are what the command reads, which stays whatever its kind; names that are no files do no harm.
    ``is_folder_made`` says that a folder that is absent will be made.
    """
    place = place_of(target)
    if not place.exists():
        if not is_folder_made and not place.parent.is_dir():
            raise InputError(f"{target}: cannot be written: there is no directory {target.parent}")
        return
    for given in inputs:
        with suppress(OSError, ValueError):
            if place.samefile(given):
                raise InputError(f"{target}: is an input of this command, which stays as it is; name another file")
    try:
        is_ours = not place.stat().st_size or kind.recognises(place)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    if not is_ours:
        raise InputError(f"{target}: exists already and is not {kind.noun}; name another file, or remove it")


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text of a document, at any depth: the paths among them may be inputs."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_in(part)
