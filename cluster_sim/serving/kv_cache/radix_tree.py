"""Radix tree of SGLang's cache (python/sglang/srt/mem_cache/radix_cache.py), over pieces of content instead of tokens.

A node holds tokens that were inserted together; its children continue it.  A match that ends inside a node splits it.
Sequences lock the path from their last matched node to the root; eviction removes whole leaves that nobody locks, least
recently used first, and may go on with the parents that this turns into leaves.  Only counts of tokens are kept: whose
copy a token is makes no difference, except that inserting what is there already frees the copy just computed.  With a
page size above 1 everything is cut down to whole pages.

No call walks a long path: nodes along one stream form a ``Stretch``, of which a walk takes many nodes at once; a
sequence goes on from the node that it has locked; and an access is noted where it ends, from where it passes to the
nodes above when those below them go, which is before it can matter there.
"""

import heapq
from bisect import bisect_right
from typing import NamedTuple, Protocol

from cluster_sim.serving.kv_cache.content import Content, Piece
from cluster_sim.serving.kv_cache.prefix_changes import NONE_LEFT, PrefixChanges, shared_ranges
from cluster_sim.serving.kv_cache.radix_node import Key, RadixNode


class TreeWatcher(Protocol):
    """Somebody who is told what may change the matches of others."""

    def on_child(self, node: int, key: Key) -> None:
        """Take in that a node has got a child that begins with a page that none of its children began with."""

    def on_gone(self, node: int) -> None:
        """Take in that a leaf has been evicted."""


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
        self.watcher: TreeWatcher | None = None

    def match(self, content: Content, tokens: int) -> RadixMatch:
        """Find the longest cached prefix of the first ``tokens`` tokens, and note the access."""
        return self._descend(self._root(content), content, self.whole_pages(tokens))

    def peek(self, content: Content, tokens: int) -> int:
        """Return the length of the longest cached prefix without an access or a split."""
        return self._walk(self._root(content), content, self.whole_pages(tokens))[2]

    def insert(self, content: Content, tokens: int, behind: int = 0) -> RadixMatch:
        """Make sure that the first ``tokens`` tokens, cut to whole pages, are in the tree; return the node with which
        they end, and how many there were.

        ``behind`` is the serial of a node that ends a prefix of them and is locked, or 0.
        """
        limit = self.whole_pages(tokens)
        found = self._descend(self._nodes[behind] if behind else self._root(content), content, limit)
        if found.tokens >= limit:
            return found
        start = found.tokens
        parent = self._nodes[found.node]
        first = _first_beyond(content.pieces, start)
        pieces = [(stream, origin, min(end, limit)) for stream, origin, end in content.pieces[first:] if origin < limit]
        leaf = self._add(parent, self._key(content.pieces, first, start), pieces, start, limit)
        leaf.used = self._accesses
        self.evictable_tokens += limit - start
        self._offer(leaf)
        if self.changes is not None:
            for name, _, end in shared_ranges(content, limit, self.page_size):
                self.changes.set(name, max(end, self.changes.end_of(name)))
        return RadixMatch(leaf.serial, start)

    def page_behind(self, content: Content, position: int, tokens: int) -> Key | None:
        """Return the identity of the page at ``position`` of the first ``tokens`` tokens; None if they end there."""
        if position >= self.whole_pages(tokens):
            return None
        return self._key(content.pieces, _first_beyond(content.pieces, position), position)

    def touch(self, serial: int) -> None:
        """Note an access that ends with a node."""
        self._accesses += 1
        node = self._nodes[serial]
        node.used = self._accesses
        self._offer(node)

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
            node.holds += 1
            stretch = node.stretch
            if node.holds > 1:
                return
            was_held = bool(stretch.held)
            top = self._nodes[stretch.nodes[0]]
            before = stretch.held[-1] if was_held else top.start
            stretch.hold(node.end)
            if node.end > before:
                self.evictable_tokens -= node.end - before
                self.locked_tokens += node.end - before
            if was_held:
                return
            serial = top.parent

    def unlock(self, serial: int) -> None:
        """Take one lock back from a node and all above it."""
        while serial:
            node = self._nodes[serial]
            node.holds -= 1
            assert node.holds >= 0
            if node.holds:
                return
            stretch = node.stretch
            stretch.let_go(node.end)
            top = self._nodes[stretch.nodes[0]]
            after = stretch.held[-1] if stretch.held else top.start
            if node.end > after:
                self.evictable_tokens += node.end - after
                self.locked_tokens -= node.end - after
            self._offer(node)
            if stretch.held:
                return
            serial = top.parent

    def evict(self, tokens: int, lost: list[tuple[Content, int]] | None = None) -> int:
        """Remove unlocked leaves, least recently used first, until ``tokens`` tokens are gone; return how many were.

        What the removed leaves end is appended to ``lost``, with its length.
        """
        gone = 0
        while gone < tokens and self._leaves:
            used, serial = heapq.heappop(self._leaves)
            node = self._nodes.get(serial)
            if node is None or node.used != used or node.children or node.holds:
                continue
            gone += node.end - node.start
            if lost is not None:
                lost.append((self._content_of(node), node.end))
            if self.changes is not None:
                self._note_eviction(self.changes, node)
            parent = self._nodes[node.parent]
            del parent.children[node.key]
            del self._nodes[serial]
            if self.watcher is not None:
                self.watcher.on_gone(serial)
            node.stretch.pop()
            parent.used = max(parent.used, used)
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
        if self.watcher is not None:
            self.watcher.on_child(parent.serial, key)
        stretch = parent.stretch
        if len(pieces) == 1 and stretch.stream == pieces[0][:2] and stretch.nodes[-1] == parent.serial:
            stretch.append(node.serial, end)
            node.stretch = stretch
        return node

    def _key(self, pieces: tuple[Piece, ...] | list[Piece], first: int, position: int) -> Key:
        """Return the identity of the page at ``position``, which is in piece ``first``: the streams in it and where
        they end.
        """
        page_end = position + self.page_size
        stream, origin, end = pieces[first]
        if end >= page_end:
            return (stream, origin)
        page: list[Piece] = []
        for stream, origin, end in pieces[first:]:
            if origin >= page_end:
                break
            page.append((stream, origin, min(end, page_end)))
        return tuple(page)

    def _common(self, node: RadixNode, pieces: tuple[Piece, ...], first: int, limit: int) -> int:
        """Return the position up to which a content, at its piece ``first``, agrees with ``node``, whole pages and at
        most ``limit``.
        """
        position = node.start
        for (stream, origin, end), other in zip(pieces[first : first + len(node.pieces)], node.pieces, strict=False):
            if other[0] != stream or other[1] != origin:
                break
            position = min(end, other[2], limit)
            if end != other[2] or position >= limit:
                break
        return self.whole_pages(position)

    def _walk(self, node: RadixNode, content: Content, limit: int) -> tuple[RadixNode, RadixNode | None, int]:
        """Walk down from a node that ends a prefix of ``content`` as far as that agrees; return the last node that does
        so to its end, the child in which the walk stops, and where.
        """
        pieces = content.pieces
        position = node.end
        first = _first_beyond(pieces, position)
        while position < limit and first < len(pieces):
            stream, origin, end = pieces[first]
            stretch = node.stretch
            if stretch.stream == (stream, origin):
                index = stretch.last_within(min(limit, end))
                if stretch.ends[index] > position:
                    node = self._nodes[stretch.nodes[index]]
                    position = node.end
                    first += end <= position
                    continue
            serial = node.children.get(self._key(pieces, first, position))
            if serial is None:
                break
            child = self._nodes[serial]
            position = self._common(child, pieces, first, limit)
            if position < child.end:
                return node, child, position
            node = child
            while first < len(pieces) and pieces[first][2] <= position:
                first += 1
        return node, None, position

    def _descend(self, node: RadixNode, content: Content, limit: int) -> RadixMatch:
        """Walk down from a node as far as ``content`` agrees, splitting the node in which it stops, and note the
        access.
        """
        self._accesses += 1
        node, child, position = self._walk(node, content, limit)
        if child is not None:
            node = self._split(child, position)
        node.used = self._accesses
        self._offer(node)
        return RadixMatch(node.serial, position)

    def _split(self, node: RadixNode, position: int) -> RadixNode:
        """Put the tokens before ``position`` of a node into a new one above it, and return that one."""
        parent = self._nodes[node.parent]
        head_pieces = [(stream, origin, min(end, position)) for stream, origin, end in node.pieces if origin < position]
        tail_pieces = [piece for piece in node.pieces if piece[2] > position]
        head = RadixNode(self._next_serial, parent.serial, node.key, head_pieces, node.start, position)
        self._next_serial += 1
        self._nodes[head.serial] = head
        parent.children[node.key] = head.serial
        stretch = node.stretch
        if head.stretch.stream == stretch.stream:
            stretch.insert_above(node, head.serial, position)
            head.stretch = stretch
        elif stretch.held:
            head.holds = 1
            head.stretch.hold(position)
        head.used = node.used
        node.parent = head.serial
        node.start = position
        node.pieces = tail_pieces
        node.key = self._key(tail_pieces, 0, position)
        head.children[node.key] = node.serial
        return head

    def _offer(self, node: RadixNode) -> None:
        """Let a node be evicted if it is an unlocked leaf; roots never are."""
        if node.parent and not node.children and not node.holds:
            heapq.heappush(self._leaves, (node.used, node.serial))
            if len(self._leaves) > 4 * len(self._nodes) + 64:
                self._tidy()

    def _tidy(self) -> None:
        """Drop the heap's stale entries, so that it stays in proportion to the tree."""
        fresh = {
            (node.used, node.serial)
            for node in self._nodes.values()
            if node.parent and not node.children and not node.holds
        }
        self._leaves = sorted(fresh)

    def validate(self) -> None:
        """Assert what must hold between calls."""
        locked: set[int] = set()
        for node in self._nodes.values():
            serial = node.serial if node.holds else 0
            while serial and serial not in locked:
                locked.add(serial)
                serial = self._nodes[serial].parent
        evictable = held = 0
        for node in self._nodes.values():
            stretch = node.stretch
            place = stretch.nodes.index(node.serial)
            assert stretch.ends[place] == node.end
            assert (node.end in stretch.held) == (node.holds > 0)
            if not node.parent:
                continue
            parent = self._nodes[node.parent]
            assert parent.end == node.start < node.end
            assert parent.children[node.key] == node.serial
            assert not place or stretch.nodes[place - 1] == node.parent
            if node.serial in locked:
                held += node.end - node.start
            else:
                evictable += node.end - node.start
        assert (evictable, held) == (self.evictable_tokens, self.locked_tokens)


def _first_beyond(pieces: tuple[Piece, ...], position: int) -> int:
    """Return the index of the first piece that ends beyond ``position``."""
    if len(pieces) == 1 or pieces[0][2] > position:
        return 0
    return bisect_right(pieces, position, key=lambda piece: piece[2])
