"""Files of users: plain ones of bounded size, so that no device, pipe or endless file can hold a command up."""

import os
import stat
from pathlib import Path
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.shown_values import shown_path

MOST_TEXT_BYTES: Final = 64 << 20
"""The longest text that is read whole: studies, models, results of benchmarks."""

_KINDS: Final = (
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a pipe, not a file: write its content to a file first"),
    (stat.S_ISSOCK, "is a socket, not a file"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "is a device, not a file"),
)


def check_plain(path: Path) -> os.stat_result:
    """Return the status of a plain file; raise InputError if there is none, or what is there is something else."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{shown_path(path)}: cannot be read ({_reason(error)})") from None
    for is_kind, text in _KINDS:
        if is_kind(status.st_mode):
            raise InputError(f"{path}: {text}")
    return status


def read_bytes(path: Path, most: int = MOST_TEXT_BYTES) -> bytes:
    """Return the content of a plain file of at most ``most`` bytes; raise InputError where it cannot be had."""
    size = check_plain(path).st_size
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1) if size <= most else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from None
    check_size(path, max(size, len(content)), most)
    return content


def read_text(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """Return the text of a plain UTF-8 file, every line end a line feed; raise InputError where it is none."""
    try:
        text = read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_stream(path: Path, stream: Any, most: int = MOST_TEXT_BYTES) -> Any:
    """Return the rest of an open stream, which may be decompressed, of at most ``most`` bytes or characters."""
    content = stream.read(most + 1)
    check_size(path, len(content), most)
    return content


def check_size(path: Path, size: int, most: int) -> None:
    """Raise InputError if a size is beyond what is read."""
    if size > most:
        raise InputError(f"{path}: is larger than {most >> 20} MiB, the most that is read of such a file")


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)
