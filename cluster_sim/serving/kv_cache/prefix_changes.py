"""Changes of the prefixes that a cache holds, for those who are told of them: KV events.

A prefix is named as in ``prefix_ranges``.  What a cache holds of a name are always its first blocks, so their end says
everything, and what happened between two reports does not matter.  Content that one request alone can have is left out.
"""

from typing import Final, Protocol

from cluster_sim.serving.kv_cache.content import KIND_BITS, SHARED, Content, Stream
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges

UNNAMED: Final = -1
"""Stands for the name of content that nobody shares."""
NONE_LEFT: Final = -1
"""End of a name of which no block is held."""


class PrefixReporter(Protocol):
    """A cache that can report its prefixes."""

    def track_prefixes(self) -> None:
        """Keep what changes from now on; to be called while nothing is cached."""

    def changed_prefixes(self) -> list[tuple[int, int]]:
        """Return (name, end) of the prefixes that have changed since the last call, by name."""


class PrefixChanges:
    """The prefixes of one cache whose blocks have changed since they were last reported."""

    def __init__(self) -> None:
        self._reported: dict[int, int] = {}
        """Ends by name as they were reported, where blocks are held."""
        self._changed: dict[int, int] = {}
        """Ends by name of those that have changed since."""

    def set(self, name: int, end: int) -> None:
        """Note where the blocks of a name end; ``NONE_LEFT`` if none is held."""
        self._changed[name] = end

    def end_of(self, name: int) -> int:
        """Return where the blocks of a name end."""
        return self._changed.get(name, self._reported.get(name, NONE_LEFT))

    def take(self) -> list[tuple[int, int]]:
        """Return (name, end) of what differs from the last report, by name."""
        reported, found = self._reported, []
        for name, end in sorted(self._changed.items()):
            if reported.get(name, NONE_LEFT) == end:
                continue
            found.append((name, end))
            if end == NONE_LEFT:
                del reported[name]
            else:
                reported[name] = end
        self._changed.clear()
        return found


def is_shared(stream: Stream) -> bool:
    """Return whether several requests may have a stream."""
    return stream & (1 << KIND_BITS) - 1 == SHARED


def shared_ranges(content: Content, tokens: int, block_size: int) -> list[BlockRange]:
    """Return the ranges of the first ``tokens`` tokens up to the first stream that nobody shares."""
    for stream, start, _ in content.pieces:
        if not is_shared(stream):
            tokens = min(tokens, start)
            break
    return prefix_ranges(content, tokens, block_size)
