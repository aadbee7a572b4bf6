"""Input files: gzip and zstd are told by their first bytes, and every failure is one clear message."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.plain_file import check_plain

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
PARQUET: Final = b"PAR1"
_READ_BYTES: Final = 1 << 20
LONGEST_LINE_BYTES: Final = 64 << 20
"""Longer than any row: conversations and prompts stand in some."""
_MOST_NAMES: Final = 12


def compression_of(path: Path) -> str | None:
    """Return ``gzip``, ``zstd`` or None by the file's first bytes; InputError when it cannot be read or is empty."""
    check_plain(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not start:
        raise InputError(f"{path}: the file is empty")
    if start.startswith(_GZIP):
        return "gzip"
    if start == _ZSTD:
        return "zstd"
    return None


def open_input(path: Path) -> Any:
    """Open a file for reading bytes, decompressed; a pyarrow stream."""
    compression = compression_of(path)
    raw = pa.OSFile(str(path))
    return pa.CompressedInputStream(raw, compression) if compression else raw


def broken_stream(path: Path, error: Exception) -> InputError:
    """Return the error to raise when decompression fails half-way."""
    return InputError(f"{path}: the compressed file is truncated or damaged ({one_line(error)})")


def shown(content: object, most: int = 60) -> str:
    """Return content of a file as a message may show it: of bounded length, on one line, without control characters."""
    text = str(content)[:most]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown_names(names: Iterable[str]) -> str:
    """Return the first names of a file's columns or fields, as a message may show them."""
    first = [shown(name.strip()) for name in islice(names, _MOST_NAMES + 1)]
    return ", ".join([*first[:_MOST_NAMES], *(["..."] if len(first) > _MOST_NAMES else [])])


def one_line(error: Exception) -> str:
    """Return an exception's text on one line of bounded length."""
    text = " ".join(str(error).split())
    return shown(text, 160) if len(text) <= 160 else shown(text, 157) + "..."


def read_head(path: Path, count: int = 1 << 16) -> bytes:
    """Return up to ``count`` first bytes, decompressed; InputError for binary content or an empty file."""
    try:
        with open_input(path) as stream:
            head = bytes(stream.read(count))
    except (OSError, pa.ArrowException) as error:
        raise broken_stream(path, error) from None
    if not head.strip():
        raise InputError(f"{path}: the file is empty")
    if b"\x00" in head and not head.startswith(PARQUET):
        raise InputError(f"{path}: binary content, not a text file of a known format")
    return head


def first_line(head: bytes) -> bytes:
    """Return the first line of a text file that starts with ``head``, in lower case; empty for a Parquet file."""
    return b"" if head.startswith(PARQUET) else head.split(b"\n", 1)[0].lower()


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end), memory bounded by the longest line, which is bounded itself."""
    number = 0
    rest = b""
    try:
        with open_input(path) as stream:
            while chunk := bytes(stream.read(_READ_BYTES)):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                if len(rest) > LONGEST_LINE_BYTES:
                    raise InputError(
                        f"{path}: line {number + len(lines) + 1} is longer than {LONGEST_LINE_BYTES >> 20} MiB"
                    )
                for line in lines:
                    number += 1
                    yield number, line.rstrip(b"\r")
    except (OSError, pa.ArrowException) as error:
        raise broken_stream(path, error) from None
    if rest:
        yield number + 1, rest.rstrip(b"\r")
