"""The radix tree over pieces against a naive one over tokens, and by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.content import SHARED, Content, stream_of
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from tests.copied import copied


def content(*pieces: tuple[int, int]) -> Content:
    """Return a content of shared segments, the last one open."""
    chain, position = [], 0
    for segment, tokens in pieces:
        chain.append((stream_of(SHARED, segment), position, position + tokens))
        position += tokens
    chain[-1] = (*chain[-1][:2], 1 << 40)
    return Content("", tuple(chain))


def names(what: Content, tokens: int) -> list:
    """Name every token by its stream and its place in it."""
    listed: list = []
    for stream, start, end in what.pieces:
        listed += [(stream, offset) for offset in range(min(end, tokens) - start)]
    return listed


class NaiveNode:
    def __init__(self, parent: "NaiveNode | None", tokens: list) -> None:
        self.parent = parent
        self.tokens = tokens
        self.children: list[NaiveNode] = []
        self.locks = 0
        self.used = 0


class NaiveTree:
    """SGLang's tree written out: nodes hold lists of tokens, eviction sorts all leaves."""

    def __init__(self, page: int) -> None:
        self.page = page
        self.root = NaiveNode(None, [])
        self.clock = 0

    def descend(self, tokens: list) -> tuple[NaiveNode, int]:
        self.clock += 1
        node, done = self.root, 0
        while done < len(tokens):
            for child in node.children:
                same = 0
                while (
                    same < len(child.tokens) and done + same < len(tokens) and child.tokens[same] == tokens[done + same]
                ):
                    same += 1
                same -= same % self.page
                if same:
                    break
            else:
                break
            done += same
            if same < len(child.tokens):
                head = NaiveNode(node, child.tokens[:same])
                head.locks, head.used = child.locks, child.used
                node.children[node.children.index(child)] = head
                head.children = [child]
                child.parent, child.tokens = head, child.tokens[same:]
                child = head
            child.used = self.clock
            node = child
        return node, done

    def peek(self, tokens: list) -> int:
        """Return the length of the longest prefix in the tree, in whole pages; change nothing."""
        node, done = self.root, 0
        while True:
            for child in node.children:
                same = 0
                while (
                    same < len(child.tokens) and done + same < len(tokens) and child.tokens[same] == tokens[done + same]
                ):
                    same += 1
                if same >= self.page:
                    break
            else:
                return done
            done += same - same % self.page
            if same < len(child.tokens):
                return done
            node = child

    def cut(self, tokens: list) -> list:
        return tokens[: len(tokens) - len(tokens) % self.page]

    def insert(self, tokens: list) -> int:
        node, done = self.descend(self.cut(tokens))
        rest = self.cut(tokens)[done:]
        if rest:
            leaf = NaiveNode(node, rest)
            leaf.used = self.clock
            node.children.append(leaf)
        return done

    def all_nodes(self) -> list[NaiveNode]:
        nodes, stack = [], list(self.root.children)
        while stack:
            node = stack.pop()
            nodes.append(node)
            stack += node.children
        return nodes

    def evict(self, count: int) -> int:
        gone = 0
        while gone < count:
            leaves = [node for node in self.all_nodes() if not node.children and not node.locks]
            if not leaves:
                break
            leaf = min(leaves, key=lambda node: node.used)
            gone += len(leaf.tokens)
            assert leaf.parent is not None
            leaf.parent.children.remove(leaf)
        return gone

    def change_locks(self, node: NaiveNode | None, by: int) -> None:
        while node is not None:
            node.locks += by
            node = node.parent


def test_partial_match_splits_and_duplicates_are_told() -> None:
    """Of 20 tokens 12 are shared; inserting the second chain adds 8, inserting it again adds none."""
    cache = RadixTree()
    assert cache.insert(content((1, 20)), 20).tokens == 0
    other = content((1, 12), (2, 8))
    assert cache.match(other, 20).tokens == 12
    assert cache.insert(other, 20).tokens == 12
    assert cache.insert(other, 20).tokens == 20
    assert cache.evictable_tokens == 28
    cache.validate()


def test_eviction_takes_whole_unlocked_leaves_least_recent_first() -> None:
    """Asked for one token, the older leaf of 8 goes; locked paths stay; then the shared head may follow."""
    cache = RadixTree()
    first, second = content((1, 12), (2, 8)), content((1, 12), (3, 8))
    cache.insert(first, 20)
    cache.insert(second, 20)
    assert cache.evict(1) == 8
    assert cache.peek(first, 20) == 12
    found = cache.match(second, 20)
    cache.lock(found.node)
    assert (cache.evictable_tokens, cache.locked_tokens) == (0, 20)
    assert cache.evict(100) == 0
    cache.unlock(found.node)
    assert cache.evict(9) == 20


def test_pages_cut_everything_down() -> None:
    """With pages of 16, 40 tokens leave 32 in the tree and 31 match 16."""
    cache = RadixTree(16)
    assert cache.insert(content((1, 99)), 40).tokens == 0
    assert cache.evictable_tokens == 32
    assert cache.match(content((1, 99)), 31).tokens == 16


PIECES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=4)
STEP = st.tuples(
    st.sampled_from(["insert", "match", "lock", "grow", "unlock", "evict", "restore"]), PIECES, st.integers(1, 24)
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEP, max_size=50))
@pytest.mark.parametrize("page", [1, 4])
def test_equals_the_naive_tree(page: int, steps: list) -> None:
    """Matches, looks, insertions, evictions and both token counts equal those of a token-by-token tree; what goes on
    from a locked node does too.
    """
    cache, naive = RadixTree(page), NaiveTree(page)
    held: list[tuple[int, NaiveNode, Content, int]] = []
    for action, pieces, count in steps:
        what = content(*pieces)
        tokens = names(what, count)
        if action == "insert":
            assert cache.insert(what, count).tokens == naive.insert(tokens)
        elif action == "match":
            assert cache.match(what, count).tokens == naive.descend(naive.cut(tokens))[1]
        elif action == "lock":
            found, (node, done) = cache.match(what, count), naive.descend(naive.cut(tokens))
            assert found.tokens == done
            cache.lock(found.node)
            naive.change_locks(node, 1)
            held.append((found.node, node, what, done))
        elif action == "grow" and held:
            serial, node, locked, done = held.pop(count % len(held))
            done += count
            found = cache.insert(locked, done, serial)
            assert found.tokens == naive.insert(names(locked, done))
            grown, done = naive.descend(naive.cut(names(locked, done)))
            cache.lock(found.node)
            cache.unlock(serial)
            naive.change_locks(grown, 1)
            naive.change_locks(node, -1)
            held.append((found.node, grown, locked, done))
        elif action == "unlock" and held:
            serial, node, *_ = held.pop(count % len(held))
            cache.unlock(serial)
            naive.change_locks(node, -1)
        elif action == "evict":
            assert cache.evict(count) == naive.evict(count)
        elif action == "restore":
            cache = copied(cache)
        cache.validate()
        nodes = naive.all_nodes()
        assert cache.evictable_tokens == sum(len(node.tokens) for node in nodes if not node.locks)
        assert cache.locked_tokens == sum(len(node.tokens) for node in nodes if node.locks)
        assert cache.peek(what, count) == naive.peek(naive.cut(tokens))


class CountedNodes(dict[int, Any]):
    """Nodes by serial; counts how often one is looked up."""

    lookups = 0

    def __getitem__(self, serial: int) -> Any:
        self.lookups += 1
        return super().__getitem__(serial)


def lookups_of_a_turn(turns: int) -> int:
    """Return how many nodes the last turn of a conversation looks up: found, locked, grown twice and let go."""
    cache = RadixTree()
    talk = content((1, 100), (2, 1))
    cache._nodes = nodes = CountedNodes()
    for turn in range(turns):
        nodes.lookups = 0
        found = cache.match(talk, 100 + 20 * turn)
        assert found.tokens == (90 + 20 * turn if turn else 0)
        cache.lock(found.node)
        for grown in (100, 110):
            deeper = cache.insert(talk, grown + 20 * turn, found.node)
            cache.lock(deeper.node)
            cache.unlock(found.node)
            found = deeper
        cache.unlock(found.node)
    lookups = nodes.lookups
    cache.validate()
    return lookups


def test_a_turn_looks_up_as_many_nodes_however_long_the_conversation() -> None:
    """After 20 turns as after 80, although each has left two nodes."""
    assert lookups_of_a_turn(80) == lookups_of_a_turn(20)
