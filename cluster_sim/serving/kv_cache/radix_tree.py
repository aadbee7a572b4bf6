"""Radix tree of SGLang's cache (python/sglang/srt/mem_cache/radix_cache.py), over pieces of content instead of tokens.

A node holds a stretch of tokens that were inserted together; its children continue it.  A match that ends inside a node
splits it.  Sequences lock the path from their last matched node to the root; eviction removes whole leaves that nobody
locks, least recently used first, and may go on with the parents that this turns into leaves.  Only counts of tokens are
kept: whose copy a token is makes no difference, except that inserting what is there already frees the copy just
computed.  With a page size above 1 everything is cut down to whole pages.
"""

import heapq
from typing import NamedTuple

from cluster_sim.serving.kv_cache.content import Content, Piece, Stream
from cluster_sim.serving.kv_cache.prefix_changes import NONE_LEFT, PrefixChanges, shared_ranges

Key = tuple[Stream, int] | tuple[Piece, ...] | tuple[str]
"""The identity of a page: its stream and where that begins, its pieces if it has several, or a root's namespace."""


class RadixNode:
    """Tokens ``start <= position < end`` behind the node's parent; a root, which holds none, has its namespace as key.

    ``pieces`` are (stream, first position of the stream, end) in order; the first may begin before the node does.
    """

    __slots__ = ("children", "end", "key", "locks", "parent", "pieces", "serial", "start", "used")

    def __init__(self, serial: int, parent: int, key: Key, pieces: list[Piece], start: int, end: int) -> None:
        self.serial = serial
        self.parent = parent
        self.key = key
        """What the parent files it under: the identity of its first page."""
        self.pieces = pieces
        self.start = start
        self.end = end
        self.children: dict[Key, int] = {}
        self.locks = 0
        self.used = 0
        """Count of the cache's accesses when this node was last one."""


class RadixMatch(NamedTuple):
    """The longest prefix found."""

    node: int
    """Serial of the node it ends with; the root's when nothing was found."""
    tokens: int


class RadixTree:
    """The tree; ``evictable_tokens`` are unlocked, ``locked_tokens`` are held by some sequence."""

    def __init__(self, page_size: int = 1) -> None:
        self.page_size = page_size
        self.evictable_tokens = 0
        self.locked_tokens = 0
        self._accesses = 0
        self._next_serial = 1
        self._nodes: dict[int, RadixNode] = {}
        self._roots: dict[str, int] = {}
        self._leaves: list[tuple[int, int]] = []
        """Heap of (access, serial) of leaves that could be evicted; stale entries are skipped when they come up."""
        self.changes: PrefixChanges | None = None
        """What has changed, where somebody is told; to be set while the tree is empty."""

    def match(self, content: Content, tokens: int) -> RadixMatch:
        """Find the longest cached prefix of the first ``tokens`` tokens, and note the access."""
        return self._descend(content, self.whole_pages(tokens))

    def peek(self, content: Content, tokens: int) -> int:
        """Return the length of the longest cached prefix without an access or a split."""
        limit = self.whole_pages(tokens)
        node = self._root(content)
        position = 0
        while position < limit:
            child = self._child(node, content, position)
            if child is None:
                break
            position = self._common(child, content, limit)
            if position < child.end:
                break
            node = child
        return position

    def insert(self, content: Content, tokens: int) -> int:
        """Make sure that the first ``tokens`` tokens, cut to whole pages, are in the tree; return how many were."""
        limit = self.whole_pages(tokens)
        found = self._descend(content, limit)
        if found.tokens < limit:
            start = found.tokens
            parent = self._nodes[found.node]
            pieces = [
                (stream, origin, min(end, limit))
                for stream, origin, end in content.pieces
                if end > start and origin < limit
            ]
            leaf = self._add(parent, self._key(content, start), pieces, start, limit)
            leaf.used = self._accesses
            self.evictable_tokens += limit - start
            self._offer(leaf)
            if self.changes is not None:
                for name, _, end in shared_ranges(content, limit, self.page_size):
                    self.changes.set(name, max(end, self.changes.end_of(name)))
        return found.tokens

    def whole_pages(self, tokens: int) -> int:
        """Return ``tokens`` cut down to whole pages."""
        return tokens - tokens % self.page_size

    def parent_of(self, serial: int) -> int:
        """Return the serial of a node's parent; 0 above the roots."""
        return self._nodes[serial].parent

    def lock(self, serial: int) -> None:
        """Protect a node and all above it from eviction."""
        while serial:
            node = self._nodes[serial]
            if node.locks == 0 and node.parent:
                self.evictable_tokens -= node.end - node.start
                self.locked_tokens += node.end - node.start
            node.locks += 1
            serial = node.parent

    def unlock(self, serial: int) -> None:
        """Take one lock back from a node and all above it."""
        while serial:
            node = self._nodes[serial]
            node.locks -= 1
            assert node.locks >= 0
            if node.locks == 0 and node.parent:
                self.evictable_tokens += node.end - node.start
                self.locked_tokens -= node.end - node.start
                self._offer(node)
            serial = node.parent

    def evict(self, tokens: int, lost: list[tuple[Content, int]] | None = None) -> int:
        """Remove unlocked leaves, least recently used first, until ``tokens`` tokens are gone; return how many were.

        What the removed leaves end is appended to ``lost``, with its length.
        """
        gone = 0
        while gone < tokens and self._leaves:
            used, serial = heapq.heappop(self._leaves)
            node = self._nodes.get(serial)
            if node is None or node.used != used or node.children or node.locks:
                continue
            gone += node.end - node.start
            if lost is not None:
                lost.append((self._content_of(node), node.end))
            if self.changes is not None:
                self._note_eviction(self.changes, node)
            parent = self._nodes[node.parent]
            del parent.children[node.key]
            del self._nodes[serial]
            self._offer(parent)
        self.evictable_tokens -= gone
        return gone

    # ----------------------------------------------------------------------------------------------------------- inside

    def _note_eviction(self, changes: PrefixChanges, node: RadixNode) -> None:
        """Tell where the pages end that a leaf, about to go, leaves behind."""
        left = node.start // self.page_size
        for name, start, end in shared_ranges(self._content_of(node), node.end, self.page_size):
            if end > left:
                changes.set(name, left if left > start else NONE_LEFT)

    def _root(self, content: Content) -> RadixNode:
        serial = self._roots.get(content.namespace)
        if serial is None:
            serial = self._roots[content.namespace] = self._next_serial
            self._next_serial += 1
            self._nodes[serial] = RadixNode(serial, 0, (content.namespace,), [], 0, 0)
        return self._nodes[serial]

    def _content_of(self, node: RadixNode) -> Content:
        """Return the chain of pieces from the root to the end of a node."""
        pieces: list[Piece] = []
        while node.parent:
            for stream, origin, end in reversed(node.pieces):
                if not pieces or pieces[-1][:2] != (stream, origin):
                    pieces.append((stream, origin, end))
            node = self._nodes[node.parent]
        return Content(str(node.key[0]), tuple(reversed(pieces)))

    def _add(self, parent: RadixNode, key: Key, pieces: list[Piece], start: int, end: int) -> RadixNode:
        node = RadixNode(self._next_serial, parent.serial, key, pieces, start, end)
        self._next_serial += 1
        self._nodes[node.serial] = node
        parent.children[key] = node.serial
        return node

    def _key(self, content: Content, position: int) -> Key:
        """Return the identity of the page at ``position``: the streams in it and where they end."""
        page_end = position + self.page_size
        for stream, origin, end in content.pieces:
            if end > position:
                if end >= page_end:
                    return (stream, origin)
                break
        return tuple(
            (stream, origin, min(end, page_end))
            for stream, origin, end in content.pieces
            if end > position and origin < page_end
        )

    def _child(self, node: RadixNode, content: Content, position: int) -> RadixNode | None:
        serial = node.children.get(self._key(content, position))
        return None if serial is None else self._nodes[serial]

    def _common(self, node: RadixNode, content: Content, limit: int) -> int:
        """Return the position up to which ``content`` agrees with ``node``, whole pages and at most ``limit``."""
        position = node.start
        theirs = iter(node.pieces)
        for stream, origin, end in content.pieces:
            if end <= position:
                continue
            other = next(theirs, None)
            if other is None or other[0] != stream or other[1] != origin:
                break
            position = min(end, other[2], limit)
            if end != other[2] or position >= limit:
                break
        return self.whole_pages(position)

    def _descend(self, content: Content, limit: int) -> RadixMatch:
        """Walk down as far as ``content`` agrees, splitting the node in which it stops; all nodes count as used."""
        self._accesses += 1
        node = self._root(content)
        node.used = self._accesses
        position = 0
        while position < limit:
            child = self._child(node, content, position)
            if child is None:
                break
            position = self._common(child, content, limit)
            if position < child.end:
                child = self._split(child, position)
            node = child
            node.used = self._accesses
            if not node.children and not node.locks:
                self._offer(node)
        return RadixMatch(node.serial, position)

    def _split(self, node: RadixNode, position: int) -> RadixNode:
        """Put the tokens before ``position`` of a node into a new one above it, and return that one."""
        parent = self._nodes[node.parent]
        head_pieces = [(stream, origin, min(end, position)) for stream, origin, end in node.pieces if origin < position]
        tail_pieces = [piece for piece in node.pieces if piece[2] > position]
        head = self._add(parent, node.key, head_pieces, node.start, position)
        head.locks = node.locks
        head.used = node.used
        node.parent = head.serial
        node.start = position
        node.pieces = tail_pieces
        node.key = self._key(Content("", tuple(tail_pieces)), position)
        head.children[node.key] = node.serial
        return head

    def _offer(self, node: RadixNode) -> None:
        """Let a node be evicted if it is an unlocked leaf; roots never are."""
        if node.parent and not node.children and not node.locks:
            heapq.heappush(self._leaves, (node.used, node.serial))
            if len(self._leaves) > 4 * len(self._nodes) + 64:
                self._tidy()

    def _tidy(self) -> None:
        """Drop the heap's stale entries, so that it stays in proportion to the tree."""
        fresh = {
            (node.used, node.serial)
            for node in self._nodes.values()
            if node.parent and not node.children and not node.locks
        }
        self._leaves = sorted(fresh)

    def validate(self) -> None:
        """Assert what must hold between calls."""
        evictable = locked = 0
        for node in self._nodes.values():
            if not node.parent:
                continue
            parent = self._nodes[node.parent]
            assert parent.end == node.start < node.end
            assert parent.children[node.key] == node.serial
            assert parent.locks >= node.locks
            if node.locks:
                locked += node.end - node.start
            else:
                evictable += node.end - node.start
        assert (evictable, locked) == (self.evictable_tokens, self.locked_tokens)
