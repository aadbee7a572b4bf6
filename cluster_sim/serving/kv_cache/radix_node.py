"""Nodes of a radix tree, and the stretches of them along one stream."""

from bisect import bisect_left, bisect_right, insort

from cluster_sim.serving.kv_cache.content import Piece, Stream

Key = tuple[Stream, int] | tuple[Piece, ...] | tuple[str]
"""The identity of a page: its stream and where that begins, its pieces if it has several, or a root's namespace."""


class Stretch:
    """Nodes below one another that go on with one stream: of a conversation two a turn.

    A walk along the stream jumps to its end, and what is locked counts once for all of them.
    """

    __slots__ = ("ends", "held", "nodes", "stream")

    def __init__(self, stream: tuple[Stream, int], serial: int, end: int) -> None:
        self.stream = stream
        """The stream and where it begins."""
        self.nodes = [serial]
        """Serials from the top down; in front of the stream the first node may hold others."""
        self.ends = [end]
        self.held: list[int] = []
        """Ends of the nodes that are held themselves, in order."""

    def last_within(self, end: int) -> int:
        """Return the index of the last node that ends at ``end`` or before; -1 if none does."""
        return bisect_right(self.ends, end) - 1

    def insert_above(self, below: "RadixNode", serial: int, end: int) -> None:
        """Take in a node right above another."""
        index = bisect_left(self.ends, below.end)
        self.nodes.insert(index, serial)
        self.ends.insert(index, end)

    def append(self, serial: int, end: int) -> None:
        """Take in a node below the last."""
        self.nodes.append(serial)
        self.ends.append(end)

    def pop(self) -> None:
        """Forget the last node."""
        self.nodes.pop()
        self.ends.pop()

    def hold(self, end: int) -> None:
        """Note that the node that ends at ``end`` is held itself."""
        insort(self.held, end)

    def let_go(self, end: int) -> None:
        """Note that the node that ends at ``end`` is held no more itself."""
        del self.held[bisect_left(self.held, end)]


class RadixNode:
    """Tokens ``start <= position < end`` behind the node's parent; a root, which holds none, has its namespace as key.

    ``pieces`` are (stream, first position of the stream, end) in order; the first may begin before the node does.
    """

    __slots__ = ("children", "end", "holds", "key", "parent", "pieces", "serial", "start", "stretch", "used")

    def __init__(self, serial: int, parent: int, key: Key, pieces: list[Piece], start: int, end: int) -> None:
        self.serial = serial
        self.parent = parent
        self.key = key
        """What the parent files it under: the identity of its first page."""
        self.pieces = pieces
        self.start = start
        self.end = end
        self.children: dict[Key, int] = {}
        self.holds = 0
        """Sequences locked here, and stretches that begin below it with something locked."""
        self.used = 0
        """Count of the cache's accesses when one ended here, or below it in a node that is gone."""
        last = pieces[-1] if pieces else (-1, 0, 0)
        self.stretch = Stretch((last[0], last[1]), serial, end)
