"""Rows by key until a table can write them in order: in memory, and in an unnamed file once they are many.

Executors deliver the rows of a run in orders of their own.  What a table cannot write yet waits here, so that its file
is the same whatever the order was, and memory stays bounded.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

MEMORY_BYTES: Final = 12 << 20
"""Bytes held in memory before everything held goes to the file."""


class ChunkStore:
    """Chunks of int64[rows, ``width``] by key, given back in the order in which they were put."""

    def __init__(self, folder: Path, width: int, memory_bytes: int = MEMORY_BYTES) -> None:
        """The file, if one is needed, lies in ``folder`` and vanishes with the store."""
        self._folder = folder
        self._width = width
        self._memory_bytes = memory_bytes
        self._held: dict[int, list[Int64Array]] = {}
        self._held_bytes = 0
        self._stored: dict[int, list[tuple[int, int]]] = {}
        """(place, bytes) of the chunks of a key in the file."""
        self._file: IO[bytes] | None = None

    def keys(self) -> list[int]:
        """Return the keys that have rows, sorted."""
        return sorted(self._held.keys() | self._stored.keys())

    def put(self, key: int, rows: Int64Array) -> None:
        """Append a chunk, which is copied unless it owns its memory."""
        self._held.setdefault(key, []).append(rows if rows.base is None else rows.copy())
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._memory_bytes:
            self._store()

    def take(self, key: int) -> Int64Array:
        """Return all rows of a key and forget them."""
        return np.concatenate([np.zeros((0, self._width), np.int64), *self.take_in_parts(key)])

    def take_in_parts(self, key: int) -> Iterator[Int64Array]:
        """Yield all rows of a key, some at a time, and forget them."""
        for place, size in self._stored.pop(key, ()):
            yield self._read(place, size)
        held = self._held.pop(key, [])
        self._held_bytes -= sum(chunk.nbytes for chunk in held)
        yield from held

    def snapshot(self) -> dict[int, Int64Array]:
        """Return all rows by key, and keep them."""
        found = {}
        for key in self.keys():
            found[key] = self.take(key)
            self.put(key, found[key])
        return found

    def restore(self, rows: dict[int, Int64Array]) -> None:
        """Take back what ``snapshot`` returned."""
        for key, some in rows.items():
            self.put(key, some)

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()

    def _store(self) -> None:
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115 - as long as the store
        place = self._file.seek(0, 2)
        for key, chunks in self._held.items():
            data = np.concatenate(chunks).tobytes()
            self._file.write(data)
            self._stored.setdefault(key, []).append((place, len(data)))
            place += len(data)
        self._held.clear()
        self._held_bytes = 0

    def _read(self, place: int, size: int) -> Int64Array:
        assert self._file is not None
        self._file.seek(place)
        return np.frombuffer(self._file.read(size), np.int64).reshape(-1, self._width)
