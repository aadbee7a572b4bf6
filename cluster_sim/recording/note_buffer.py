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


class NoteBuffer:
    """Integers in the order in which they were noted; ``size`` says how many there are."""

    __slots__ = ("_values", "memory", "size")

    def __init__(self, notes: bytes = b"") -> None:
        """``notes`` are int64 to begin with."""
        self.size = 0
        self.memory = bytearray()
        """Memory of the notes, 8 bytes each, and of those to come."""
        self._values = np.frombuffer(self.memory, np.int64)
        if notes:
            self.extend(np.frombuffer(notes, np.int64))

    def __reduce__(self) -> tuple[type["NoteBuffer"], tuple[bytes]]:
        """Tell snapshots what is noted, without the memory that waits for more."""
        return NoteBuffer, (self.values.tobytes(),)

    @property
    def values(self) -> Int64Array:
        """Everything noted; valid until more is."""
        return self._values[: self.size]

    def reserve(self, count: int) -> int:
        """Make room for ``count`` more integers and count them in; return the index of the first."""
        first = self.size
        end = first + count
        if end > len(self._values):
            memory = bytearray(8 * max(2 * len(self._values), end, _LEAST))
            memory[: 8 * first] = self.memory[: 8 * first]
            self.memory = memory
            self._values = np.frombuffer(memory, np.int64)
        self.size = end
        return first

    def extend(self, values: Int64Array) -> None:
        """Note several."""
        first = self.reserve(len(values))
        self._values[first : self.size] = values

    def extend_sums(self, values: Int64Array, added: int) -> None:
        """Note several, each ``added`` more than it says."""
        first = self.reserve(len(values))
        np.add(values, added, out=self._values[first : self.size])

    def append(self, value: int) -> None:
        """Note one."""
        first = self.reserve(1)
        self._values[first] = value

    def drop(self, count: int) -> None:
        """Forget the last ``count``."""
        self.size -= count

    def clear(self) -> None:
        """Forget everything."""
        self.size = 0
