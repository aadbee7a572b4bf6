"""Writing a file whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster_sim.errors import InputError, UnfinishedError


@contextmanager
def whole_set() -> Iterator[Callable[[Path], Path]]:
    """Yield a function that gives a path beside a file's own, to be written there.

    All of them take their names when the block has ended well, and go otherwise.  Raises InputError where one cannot.
    """
    given: dict[Path, Path] = {}

    def place(file: Path) -> Path:
        if file.is_dir():
            raise InputError(f"{file}: cannot be written: it is a directory; name a file")
        if not file.parent.is_dir():
            raise InputError(f"{file}: cannot be written: there is no directory {file.parent}")
        return given.setdefault(file, file.with_name(f"{file.name}.new"))

    try:
        yield place
        for file, new in given.items():
            try:
                new.replace(file)
            except OSError as error:
                raise InputError(f"{file}: cannot be written: {error.strerror or error}") from error
    finally:
        for new in given.values():
            with suppress(OSError):
                new.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, failure: type[InputError | UnfinishedError] = InputError) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which takes its name when the block has ended well and goes otherwise.

    Raises ``failure`` where the file cannot be written.
    """
    if path.is_dir():
        raise failure(f"{path}: cannot be written: it is a directory; name a file")
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise failure(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
