"""A sorted list of waiting sequences that is taken from in front."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from cluster_sim.serving.sequence import Sequence

Entry = tuple[float, int, int, int, Sequence]
"""(place in the group, arrival in ns, request, number of the entry, sequence); the numbers differ."""

MOST_GONE: Final = 64
"""Entries taken that the list keeps in front, at least, before it is cut."""


class SortedRun:
    """Entries in order.  Those taken from in front are cut off many at a time, so that taking one moves nothing."""

    __slots__ = ("_entries", "_from")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._from = 0

    def __len__(self) -> int:
        return len(self._entries) - self._from

    def __iter__(self) -> Iterator[Sequence]:
        return (entry[4] for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in order."""
        entries = self._entries
        return (entries[index] for index in range(self._from, len(entries)))

    @property
    def first_entry(self) -> Entry:
        """The first entry; there is one."""
        return self._entries[self._from]

    @property
    def first(self) -> Sequence:
        """The first sequence; there is one."""
        return self._entries[self._from][4]

    def insert(self, entry: Entry) -> None:
        """Put an entry into its place."""
        entries = self._entries
        if not entries or entries[-1] < entry:
            entries.append(entry)
        elif self._from and entry < entries[self._from]:
            self._from -= 1
            entries[self._from] = entry
        else:
            entries.insert(bisect_left(entries, entry, self._from), entry)

    def pop(self) -> None:
        """Take the first entry out."""
        self._from += 1
        if self._from >= MOST_GONE and 2 * self._from >= len(self._entries):
            del self._entries[: self._from]
            self._from = 0

    def remove(self, entry: Entry) -> None:
        """Take an entry out that is here."""
        del self._entries[bisect_left(self._entries, entry, self._from)]
