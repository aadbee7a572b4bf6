"""Buffers of integers that are noted one by one, counted in bulk, and forgotten.

Design.  The memory is kept when the notes are forgotten: a long run notes millions of steps, and memory that comes and
goes in pieces of all sizes is never whole again.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_LEAST: Final = 64
"""Integers that a buffer holds once it holds any."""
_add: Final = np.add


class NoteBuffer:
    """Integers in the order in which they were noted; ``size`` says how many there are."""

    __slots__ = ("_room", "_values", "memory", "size")

    def __init__(self, notes: bytes = b"") -> None:
        """``notes`` are int64 to begin with."""
        self.size = 0
        self.memory = bytearray()
        """Memory of the notes, 8 bytes each, and of those to come."""
        self._values = np.frombuffer(self.memory, np.int64)
        self._room = 0
        if notes:
            self.extend(np.frombuffer(notes, np.int64))

    def __reduce__(self) -> tuple[type["NoteBuffer"], tuple[bytes]]:
        """Tell snapshots what is noted, without the memory that waits for more."""
        return NoteBuffer, (self.values.tobytes(),)

    @property
    def values(self) -> Int64Array:
        """Everything noted; valid until more is."""
        return self._values[: self.size]

    def since(self, first: int) -> Int64Array:
        """Return what is noted from the integer ``first`` on; valid until more is."""
        return self._values[first : self.size]

    def reserve(self, count: int) -> int:
        """Make room for ``count`` more integers and count them in; return the index of the first."""
        first = self.size
        self.size = end = first + count
        if end > self._room:
            self._grow(end)
        return first

    # A fleet notes several times a request, so these make room without a call.

    def extend(self, values: Int64Array) -> None:
        """Note several."""
        first = self.size
        self.size = end = first + len(values)
        if end > self._room:
            self._grow(end)
        self._values[first:end] = values

    def extend_sums(self, values: Int64Array, added: int) -> None:
        """Note several, each ``added`` more than it says."""
        first = self.size
        self.size = end = first + len(values)
        if end > self._room:
            self._grow(end)
        _add(values, added, self._values[first:end])

    def append_pair(self, one: int, other: int) -> None:
        """Note two."""
        first = self.size
        self.size = end = first + 2
        if end > self._room:
            self._grow(end)
        values = self._values
        values[first] = one
        values[first + 1] = other

    def _grow(self, end: int) -> None:
        """Get memory for ``end`` integers at least, with all that is noted."""
        memory = bytearray(8 * max(2 * self._room, end, _LEAST))
        memory[: len(self.memory)] = self.memory
        self.memory = memory
        self._values = np.frombuffer(memory, np.int64)
        self._room = len(self._values)

    def drop(self, count: int) -> None:
        """Forget the last ``count``."""
        self.size -= count

    def clear(self) -> None:
        """Forget everything."""
        self.size = 0
