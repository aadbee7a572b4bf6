"""Writing a file whole or not at all, where a plain file is or can be made."""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cluster_sim.errors import InputError, UnfinishedError

_KINDS: Final = (
    (stat.S_ISREG, None),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link that leads to itself"),
)


def place_of(path: Path, failure: type[InputError | UnfinishedError] = InputError) -> Path:
    """Return where a file is written: ``path`` itself, or where a link at it leads.

    Raises ``failure`` unless a plain file is there, or nothing.
    """
    try:
        place = Path(os.path.realpath(path))
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return place
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise failure(f"{path}: cannot be written: {reason}") from error
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "a device")
    if kind is not None:
        raise failure(f"{path}: cannot be written: it is {kind}; name a file")
    return place


def _beside(place: Path, suffix: str) -> Path:
    """Return a path beside a file at which nothing of anyone else's is."""
    return place.with_name(f".{place.name}.{secrets.token_hex(8)}.{suffix}")


@contextmanager
def whole_set() -> Iterator[Callable[[Path], Path]]:
    """Yield a function that gives a path beside a file's own, to be written there.

    All of them take their names when the block has ended well, and go otherwise.  Raises InputError where one cannot.
    """
    given: dict[Path, tuple[Path, Path]] = {}

    def path_for(file: Path) -> Path:
        place = place_of(file)
        if not place.parent.is_dir():
            raise InputError(f"{file}: cannot be written: there is no directory {file.parent}")
        if place in given:
            raise InputError(f"{file}: cannot be written: another output of this command goes there; name another file")
        given[place] = file, _beside(place, "new")
        return given[place][1]

    try:
        yield path_for
        for place, (file, new) in given.items():
            try:
                new.replace(place)
            except OSError as error:
                raise InputError(f"{file}: cannot be written: {error.strerror or error}") from error
    finally:
        for _, new in given.values():
            with suppress(OSError):
                new.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, failure: type[InputError | UnfinishedError] = InputError) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which takes its name when the block has ended well and goes otherwise.

    Raises ``failure`` where the file cannot be written.
    """
    place = place_of(path, failure)
    partial = _beside(place, "partial")
    try:
        yield partial
        partial.replace(place)
    except OSError as error:
        raise failure(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
