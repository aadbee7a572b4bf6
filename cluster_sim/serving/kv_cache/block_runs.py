"""Runs of KV blocks that are taken and freed together, and the least-recently-used queue of the free ones."""

from collections.abc import Iterator
from typing import Final

from cluster_sim.serving.kv_cache.content import Piece, Stream

NodeKey = tuple["Parent", Stream, int]
"""What stands before a node, the stream of its blocks, and where the stream begins in the sequence."""

Parent = str | int | NodeKey
"""A namespace at the very beginning, the serial of a node, or the key of a piece in which no block ends."""


_NOBODY: Final[dict[int, None]] = {}
"""Holders of every run without a node: nobody finds it, so nobody shares it."""


class StreamNode:
    """The blocks whose last token lies in one stream at one position behind one chain of earlier streams.

    ``runs`` holds the physical copies in order of insertion: for each block index the first run that covers it is the
    one a lookup finds.
    """

    __slots__ = ("first", "key", "name", "runs", "serial")

    def __init__(self, key: NodeKey, serial: int, first: int) -> None:
        self.key = key
        self.serial = serial
        self.first = first
        """Index in the sequence of the first block that ends in the node."""
        self.runs: list[BlockRun] = []
        self.name = -1
        """Its name outside this cache, where somebody is told of changes and the content may be shared."""


class BlockRun:
    """Physical blocks for the consecutive block indexes ``start <= i < end`` of a node, always held by the same
    sequences; without a node, ``end - start`` blocks whose content has no hash.

    In the free queue a run stands for its blocks from the last to the first: the order in which vLLM frees them.
    """

    __slots__ = ("end", "following", "holders", "node", "preceding", "start")

    def __init__(self, node: StreamNode | None, start: int, end: int) -> None:
        self.node = node
        self.start = start
        self.end = end
        self.holders: dict[int, None] = {} if node is not None else _NOBODY
        """Keys of the sequences that hold every block of the run; free when empty."""
        self.preceding: BlockRun | None = None
        self.following: BlockRun | None = None


class Holding:
    """What one sequence holds: its hashed runs in order of position, and where its content continues."""

    __slots__ = ("hashed_blocks", "parent", "piece", "pieces", "runs")

    def __init__(self, pieces: tuple[Piece, ...], hashed_blocks: int, piece: int, parent: Parent) -> None:
        self.pieces = pieces
        self.runs: list[BlockRun] = []
        self.hashed_blocks = hashed_blocks
        self.piece = piece
        self.parent = parent


class FreeQueue:
    """A doubly linked list of free runs, the next to be reused in front."""

    __slots__ = ("_tail", "blocks", "front")

    def __init__(self) -> None:
        self.front: BlockRun | None = None
        """The run whose last block is reused next."""
        self._tail: BlockRun | None = None
        self.blocks = 0
        """Blocks in the queue; the owner keeps it when it shortens a queued run."""

    def __iter__(self) -> Iterator[BlockRun]:
        run = self.front
        while run is not None:
            yield run
            run = run.following

    def advance(self, front: BlockRun | None, blocks: int) -> None:
        """Make ``front`` the front, everything before it having been taken out and ``blocks`` blocks with it."""
        self.front = front
        if front is None:
            self._tail = None
        else:
            front.preceding = None
        self.blocks -= blocks

    def append(self, run: BlockRun) -> None:
        """Put a run behind all others."""
        tail = self._tail
        run.preceding = tail
        run.following = None
        if tail is None:
            self.front = run
        else:
            tail.following = run
        self._tail = run
        self.blocks += run.end - run.start

    def insert_before(self, run: BlockRun, place: BlockRun) -> None:
        """Put ``run`` right in front of ``place``, which must be in the queue."""
        preceding = place.preceding
        run.preceding = preceding
        run.following = place
        place.preceding = run
        if preceding is None:
            self.front = run
        else:
            preceding.following = run
        self.blocks += run.end - run.start

    def remove(self, run: BlockRun) -> None:
        """Take a run out, wherever it stands."""
        preceding, following = run.preceding, run.following
        if preceding is None:
            self.front = following
        else:
            preceding.following = following
        if following is None:
            self._tail = preceding
        else:
            following.preceding = preceding
        run.preceding = run.following = None
        self.blocks -= run.end - run.start
