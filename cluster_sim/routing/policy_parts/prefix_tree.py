"""Prefix tree of prompts by candidate: what a router believes each replica has in its cache.

Design.  Routers of text keep a radix tree of the prompts that they have sent, and for each node the workers that got
it. Here the edges are pieces of content (``serving.kv_cache.content``) instead of characters, so lengths are
tokens.  Every node knows its *holders* and when each of them last got it.  An insertion marks the whole path, and
evictions take the leaves of a holder, so what a candidate holds is a subtree that hangs at the root: a node without
holders has no children.

Sources of the form: the trees of sgl-router (sgl-project/sglang, sgl-router/src/tree.rs) and of Ray Serve LLM
(ray-project/ray, ``ray.llm._internal.serve.routing_policies.prefix_aware.prefix_tree``).
"""

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from cluster_sim.serving.kv_cache.content import Content, Piece

_EdgeKey = tuple[int, int]
"""(stream, first token of its piece): equal tokens begin here."""


class PrefixMatch(NamedTuple):
    """The longest prefix of a prompt that somebody holds."""

    tokens: int
    holders: tuple[int, ...]
    """The positions that hold all of it, in the order in which they first got it; none if ``tokens`` is 0."""


class _Node:
    """A run of tokens that follows the parent's."""

    __slots__ = ("children", "end", "holders", "key", "parent", "start")

    def __init__(self, parent: "_Node | None", key: _EdgeKey, start: int, end: int) -> None:
        self.parent = parent
        self.key = key
        self.start = start
        self.end = end
        self.children: dict[_EdgeKey, _Node] = {}
        self.holders: dict[int, int] = {}
        """When each holder last got it, by position."""


class PrefixTree:
    """The prompts of several candidates; what they hold is counted in tokens."""

    def __init__(self, keeps_ns: int = 0) -> None:
        """Forget what a candidate has not got again for ``keeps_ns`` (see ``expire``); 0 keeps everything."""
        self._roots: dict[str, _Node] = {}
        """One for each namespace: adapters share nothing."""
        self._keeps_ns = keeps_ns
        self._inserted: deque[tuple[int, int, Content, int]] = deque()
        """(time, position, content, tokens) of insertions that may expire, in order."""
        self.tokens: dict[int, int] = {}
        """Tokens that each candidate holds, by position."""

    # -------------------------------------------------------------------------------------------------------- looking

    def match(self, content: Content, tokens: int) -> PrefixMatch:
        """Return the longest prefix of the first ``tokens`` tokens that somebody holds."""
        matched, holders = 0, tuple[int, ...]()
        for node, end in self._path(content, tokens):
            matched, holders = end, tuple(node.holders)
        return PrefixMatch(matched, holders)

    def matches(self, content: Content, tokens: int) -> dict[int, int]:
        """Return how many of the first ``tokens`` tokens each candidate holds, without those that hold none."""
        found: dict[int, int] = {}
        for node, end in self._path(content, tokens):
            for position in node.holders:
                found[position] = end
        return found

    def held(self, position: int) -> int:
        """Return the tokens that a candidate holds."""
        return self.tokens.get(position, 0)

    def _path(self, content: Content, tokens: int) -> Iterator[tuple[_Node, int]]:
        """Yield the nodes that a prompt shares, from the root on, each with the end of what it shares."""
        node = self._roots.get(content.namespace)
        at = 0
        for stream, start, piece_end in content.pieces:
            end = min(piece_end, tokens)
            while at < end:
                node = node.children.get((stream, start)) if node is not None else None
                if node is None:
                    return
                at = min(node.end, end)
                yield node, at
                if at < node.end:
                    return

    # ------------------------------------------------------------------------------------------------------- changing

    def insert(self, content: Content, tokens: int, position: int, now_ns: int) -> None:
        """Note that a candidate gets the first ``tokens`` tokens of a prompt."""
        node = self._roots.get(content.namespace)
        if node is None:
            node = self._roots[content.namespace] = _Node(None, (-1, 0), 0, 0)
        at = gained = 0
        for piece in content.pieces:
            end = min(piece[2], tokens)
            while at < end:
                node = self._child(node, piece, at, end)
                if position not in node.holders:
                    gained += node.end - node.start
                node.holders[position] = now_ns
                at = node.end
        self.tokens[position] = self.held(position) + gained
        if self._keeps_ns:
            self._inserted.append((now_ns, position, content, tokens))

    @staticmethod
    def _child(node: _Node, piece: Piece, at: int, end: int) -> _Node:
        """Return the child that holds the tokens of a piece from ``at`` on, and none from ``end`` on."""
        key = piece[:2]
        child = node.children.get(key)
        if child is None:
            child = node.children[key] = _Node(node, key, at, end)
        elif child.end > end:
            # The child keeps its end, so that leaves stay leaves; what comes before becomes its parent.
            upper = node.children[key] = _Node(node, key, at, end)
            upper.holders = dict(child.holders)
            upper.children[key] = child
            child.parent, child.start = upper, end
        return child if child.end <= end else upper

    def shrink(self, position: int, most_tokens: int) -> None:
        """Make a candidate forget what it got longest ago, leaf by leaf, until it holds ``most_tokens`` at most."""
        if self.held(position) <= most_tokens:
            return
        order = 0
        leaves: list[tuple[int, int, _Node]] = []
        for node in self._nodes_of(position):
            if not _has_child_of(node, position):
                leaves.append((node.holders[position], order, node))
                order += 1
        heapify(leaves)
        while leaves and self.held(position) > most_tokens:
            node = heappop(leaves)[2]
            parent = node.parent
            self._forget(node, position)
            if parent is not None and position in parent.holders and not _has_child_of(parent, position):
                heappush(leaves, (parent.holders[position], order, parent))
                order += 1

    def expire(self, now_ns: int) -> None:
        """Forget what candidates have not got again within the time that was given at construction."""
        inserted = self._inserted
        while inserted and inserted[0][0] <= now_ns - self._keeps_ns:
            got_ns, position, content, tokens = inserted.popleft()
            for node, _ in reversed(list(self._path(content, tokens))):
                if node.holders.get(position, now_ns) > got_ns:
                    break
                self._forget(node, position)

    def remove(self, position: int) -> None:
        """Forget all that a candidate holds: it has left, or lost its cache."""
        self.shrink(position, 0)
        self.tokens.pop(position, None)

    def _nodes_of(self, position: int) -> Iterator[_Node]:
        """Yield the nodes that a candidate holds, parents first."""
        found = [node for root in self._roots.values() for node in root.children.values() if position in node.holders]
        while found:
            node = found.pop()
            yield node
            found.extend(child for child in node.children.values() if position in child.holders)

    def _forget(self, node: _Node, position: int) -> None:
        del node.holders[position]
        self.tokens[position] -= node.end - node.start
        if not node.holders and node.parent is not None:
            del node.parent.children[node.key]


def _has_child_of(node: _Node, position: int) -> bool:
    return any(position in child.holders for child in node.children.values())
