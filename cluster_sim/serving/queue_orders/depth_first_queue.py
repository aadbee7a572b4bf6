"""Waiting queue in the order of a depth-first walk of the radix tree.

SGLang matches every waiting prompt with the tree whenever it chooses prompts.  Here those that end at one node stand
together, by the page that they go on with, and only a change of the tree right there makes them be matched again: a new
child with that page, or the end of the node.  What a match does besides, noting an access, is done once a node.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_node import Key
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.queue_orders.waiting_queue import WaitingQueue
from cluster_sim.serving.sequence import Sequence

Position = tuple[int, int]
"""Rank of a group and number in it; places in the queue compare like their positions."""

_FIRST: Final = -1
_LAST: Final = 1 << 62
"""Ranks before and behind all groups."""


class _Change(NamedTuple):
    """Something that happened to the tree."""

    node: int
    key: Key | None = None
    """The page with which a new child of the node begins; None if the node itself has gone."""


class _Group:
    """Those whose longest prefix in the tree ends at one node."""

    __slots__ = ("by_next", "members", "rank")

    def __init__(self) -> None:
        self.rank = _LAST
        self.members: dict[int, tuple[int, Sequence]] = {}
        """(number, sequence) by key, in queue order."""
        self.by_next: dict[Key, dict[int, None]] = {}
        """Keys of the members by the page that they go on with."""

    def first(self) -> Position:
        return self.rank, next(iter(self.members.values()))[0]

    def last(self) -> Position:
        return self.rank, next(reversed(self.members.values()))[0]


class DepthFirstQueue(WaitingQueue):
    """Sequences by the nodes of the tree that their prompts end at; who has just come stands behind all, not matched
    yet.
    """

    def __init__(self, cache: RadixCache) -> None:
        super().__init__(reads_all=True)
        self._cache = cache
        self._groups: dict[int, _Group] = {}
        """By node, in queue order; none is empty after a sort."""
        self._places: dict[int, tuple[int, Key | None]] = {}
        """(node, next page) of those in groups, by key."""
        self._unmatched: dict[int, tuple[Position, Sequence]] = {}
        self._numbers = 0
        self._changes: list[_Change] = []
        cache.tree.watcher = self

    def __iter__(self) -> Iterator[Sequence]:
        members = (
            ((group.rank, number), sequence)
            for group in self._groups.values()
            for number, sequence in group.members.values()
        )
        if not self._unmatched:
            return (sequence for _, sequence in members)
        others = sorted(self._unmatched.values(), key=_position_of)
        return (sequence for _, sequence in heapq.merge(members, others, key=_position_of))

    @property
    def head(self) -> Sequence:
        return next(iter(self))

    def leave(self) -> Sequence:
        head = self.head
        del self.present[head.key]
        self._drop(head)
        return head

    def on_child(self, node: int, key: Key) -> None:
        """Take in that a node of the tree has got a child that begins with a page."""
        if self._groups:
            self._changes.append(_Change(node, key))

    def on_gone(self, node: int) -> None:
        """Take in that a node of the tree has gone."""
        if self._groups:
            self._changes.append(_Change(node))

    def sort(self, running: Iterable[Sequence], now_ns: int) -> None:
        self._apply_changes()
        groups = self._groups
        firsts = {node: group.first() for node, group in groups.items() if group.members}
        lasts = {node: groups[node].last() for node in firsts}
        for node, joining in self._matched().items():
            group = groups.setdefault(node, _Group())
            places = [position for position, _, _ in joining]
            firsts[node] = min(firsts.get(node, places[0]), places[0])
            lasts[node] = max(lasts.get(node, places[-1]), places[-1])
            self._join(node, group, joining)
        tree = self._cache.tree
        for node in sorted(lasts, key=lasts.__getitem__):
            if node:  # There is none without a prefix cache.
                tree.touch(node)
        weights = {node: len(groups[node].members) for node in sorted(firsts, key=firsts.__getitem__)}
        self._groups = {node: groups[node] for node in _depth_first(tree, weights)}
        for rank, group in enumerate(self._groups.values()):
            group.rank = rank
        self.is_sorted = True

    def _apply_changes(self) -> None:
        """Take out whoever has to be matched again."""
        for node, key in self._changes:
            group = self._groups.get(node)
            if group is None:
                continue
            for member in list(group.members) if key is None else group.by_next.pop(key, ()):
                number, sequence = group.members.pop(member)
                self._unmatched[member] = ((group.rank, number), sequence)
                del self._places[member]
            if key is None:
                del self._groups[node]
        self._changes.clear()

    def _matched(self) -> dict[int, list[tuple[Position, Sequence, Key | None]]]:
        """Match those who are not, in queue order; return (position, sequence, next page) by node."""
        cache = self._cache
        joining: dict[int, list[tuple[Position, Sequence, Key | None]]] = {}
        for position, sequence in sorted(self._unmatched.values(), key=_position_of):
            cache.match_prefix(sequence)
            holding = cache.holding_of(sequence)
            key = cache.tree.page_behind(holding.content, holding.prefix, sequence.known_tokens - 1)
            joining.setdefault(holding.node, []).append((position, sequence, key))
        self._unmatched.clear()
        return joining

    def _join(self, node: int, group: _Group, joining: list[tuple[Position, Sequence, Key | None]]) -> None:
        """Put sequences into a group, in queue order."""
        members = group.members
        is_behind = not members or joining[0][0] > group.last()
        if not is_behind:
            both = [((group.rank, number), sequence) for number, sequence in members.values()]
            both += [(position, sequence) for position, sequence, _ in joining]
            both.sort(key=_position_of)
            group.members = {sequence.key: (number, sequence) for number, (_, sequence) in enumerate(both)}
        number = group.last()[1] if members else -1
        for _, sequence, key in joining:
            self._places[sequence.key] = (node, key)
            if key is not None:
                group.by_next.setdefault(key, {})[sequence.key] = None
            if is_behind:
                number += 1
                members[sequence.key] = (number, sequence)

    def _insert(self, sequence: Sequence) -> None:
        self._note(sequence)
        self._numbers += 1
        self._unmatched[sequence.key] = ((_LAST, self._numbers), sequence)

    def _insert_first(self, sequence: Sequence) -> None:
        self._note(sequence)
        self._numbers += 1
        self._unmatched[sequence.key] = ((_FIRST, -self._numbers), sequence)

    def _drop(self, sequence: Sequence) -> None:
        place = self._places.pop(sequence.key, None)
        if place is None:
            del self._unmatched[sequence.key]
            return
        node, key = place
        group = self._groups[node]
        del group.members[sequence.key]
        if key is not None:
            others = group.by_next[key]
            del others[sequence.key]
            if not others:
                del group.by_next[key]


def _position_of(entry: tuple[Position, Sequence]) -> Position:
    return entry[0]


def _depth_first(tree: RadixTree, counts: dict[int, int]) -> list[int]:
    """Return nodes in the order of the walk, heavier subtrees first; ``counts`` says how many end at each."""
    weights: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for serial, count in counts.items():
        node = serial
        while node:
            if node not in weights:
                weights[node] = 0
                children.setdefault(tree.parent_of(node), []).append(node)
            weights[node] += count
            node = tree.parent_of(node)
    ordered: list[int] = []
    stack = [(0, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            if node in counts:
                ordered.append(node)
            continue
        stack.append((node, True))
        stack += [(child, False) for child in sorted(children.get(node, ()), key=lambda serial: weights[serial])]
    return ordered
