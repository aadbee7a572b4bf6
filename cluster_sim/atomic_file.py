"""Writing a file whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster_sim.errors import InputError, UnfinishedError


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
