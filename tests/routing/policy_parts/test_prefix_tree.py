"""Prefix tree: matches as far as chains of pieces agree, sizes in tokens, evictions from the leaves."""

from random import Random

from cluster_sim.routing.policy_parts.prefix_tree import PrefixMatch, PrefixTree
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.workload.request import Attributes, Request
from tests.copied import copied


def prompt(*segments: tuple[int, int], lora: str = "") -> tuple[Content, int]:
    """Return the content of a prompt of (segment, tokens), and its tokens."""
    tokens = sum(length for _, length in segments)
    return content_of(Request(1, 0, tokens, 5, Attributes(segments=segments, lora=lora))), tokens


def test_a_match_ends_where_chains_part() -> None:
    """Shared whole segments, then part of one; another adapter, or a segment elsewhere, shares nothing."""
    tree = PrefixTree()
    tree.insert(*prompt((1, 100), (2, 50)), 0, 10)
    tree.insert(*prompt((1, 100), (3, 80)), 1, 20)
    assert tree.match(*prompt((1, 100), (4, 9))) == PrefixMatch(100, (0, 1))
    assert tree.match(*prompt((1, 100), (3, 30))) == PrefixMatch(130, (1,))
    assert tree.match(*prompt((1, 60))) == PrefixMatch(60, (0, 1))
    assert tree.match(*prompt((3, 80))) == PrefixMatch(0, ())
    assert tree.match(*prompt((1, 100), lora="x")) == PrefixMatch(0, ())
    assert tree.matches(*prompt((1, 100), (2, 70))) == {0: 150, 1: 100}
    assert (tree.held(0), tree.held(1), tree.held(2)) == (150, 180, 0)


def test_a_shorter_insertion_splits_a_run() -> None:
    """What is inserted later and ends inside a run shares its first part only."""
    tree = PrefixTree()
    tree.insert(*prompt((1, 100)), 0, 10)
    tree.insert(*prompt((1, 40), (2, 10)), 1, 20)
    assert tree.matches(*prompt((1, 100))) == {0: 100, 1: 40}
    assert tree.matches(*prompt((1, 40), (2, 10))) == {0: 40, 1: 50}
    assert (tree.held(0), tree.held(1)) == (100, 50)


def test_evictions_take_the_oldest_leaves() -> None:
    """The leaf that was used longest ago goes first, a parent when it has become a leaf, others keep theirs."""
    tree = PrefixTree()
    tree.insert(*prompt((1, 100), (2, 50)), 0, 10)
    tree.insert(*prompt((1, 100), (3, 80)), 0, 20)
    tree.insert(*prompt((1, 100), (2, 50)), 1, 20)
    tree.shrink(0, 230)
    assert tree.held(0) == 230
    tree.shrink(0, 200)  # Without the leaf of 50 tokens.
    assert tree.matches(*prompt((1, 100), (2, 50))) == {0: 100, 1: 150}
    tree.shrink(0, 99)  # The leaf of 80, then the parent.
    assert (tree.held(0), tree.held(1)) == (0, 150)
    assert tree.matches(*prompt((1, 100))) == {1: 100}
    tree.remove(1)
    assert tree.match(*prompt((1, 100))) == PrefixMatch(0, ())


def test_prompts_expire_unless_they_come_again() -> None:
    """What has not come again for 100 ns is forgotten at 100 ns; shared parts live as long as the latest use."""
    tree = PrefixTree(keeps_ns=100)
    tree.insert(*prompt((1, 100), (2, 50)), 0, 0)
    tree.insert(*prompt((1, 100), (3, 80)), 0, 60)
    tree.expire(99)
    assert tree.held(0) == 230
    tree.expire(100)
    assert tree.matches(*prompt((1, 100), (2, 50))) == {0: 100}
    tree.expire(160)
    assert tree.held(0) == 0


def test_a_tree_agrees_with_a_list_of_prompts() -> None:
    """For random insertions, removals and expiries every match is that of a list; sizes are distinct tokens."""
    random = Random(5)
    for _ in range(60):
        keeps_ns = (0, 30)[random.randrange(2)]
        tree = PrefixTree(keeps_ns)
        inserted: list[tuple[int, tuple[tuple[int, int], ...], int]] = []
        for now in range(0, 100, 5):
            segments = drawn(random)
            position = random.randrange(3)
            tree.expire(now)
            inserted = [entry for entry in inserted if not keeps_ns or entry[2] > now - keeps_ns]
            if not random.randrange(8):
                tree.remove(position)
                inserted = [entry for entry in inserted if entry[0] != position]
            tree.insert(*prompt(*segments), position, now)
            inserted.append((position, segments, now))
            if not random.randrange(5):
                tree = copied(tree)
            wanted = tokens_of(drawn(random))
            expected = {}
            for holder in range(3):
                held = {token for other, given, _ in inserted if other == holder for token in prefixes(given)}
                assert tree.held(holder) == len(held)
                matched = sum(1 for token in prefixes_of(wanted) if token in held)
                if matched:
                    expected[holder] = matched
            assert tree.matches(content_of_tokens(wanted), len(wanted)) == expected


def drawn(random: Random) -> tuple[tuple[int, int], ...]:
    """Return segments whose ids are chained, as a workload's are, of a few lengths each."""
    chain = 0
    segments = []
    for _ in range(1 + random.randrange(3)):
        chain = chain * 3 + random.randrange(2) + 1
        segments.append((chain, 1 + random.randrange(6)))
    return tuple(segments)


def tokens_of(segments: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Return the tokens as (segment, offset)."""
    return tuple((segment, offset) for segment, length in segments for offset in range(length))


def prefixes(segments: tuple[tuple[int, int], ...]) -> list[tuple[tuple[int, int], ...]]:
    return prefixes_of(tokens_of(segments))


def prefixes_of(tokens: tuple[tuple[int, int], ...]) -> list[tuple[tuple[int, int], ...]]:
    return [tokens[: end + 1] for end in range(len(tokens))]


def content_of_tokens(tokens: tuple[tuple[int, int], ...]) -> Content:
    lengths: dict[int, int] = {}
    for segment, _ in tokens:
        lengths[segment] = lengths.get(segment, 0) + 1
    return prompt(*lengths.items())[0]


def test_a_deep_tree_survives_a_snapshot() -> None:
    """A prompt of 5,000 segments is written without recursion."""
    tree = PrefixTree()
    long = prompt(*((number, 2) for number in range(5000)))
    tree.insert(*long, 0, 0)
    twin = copied(tree)
    assert twin.match(*long) == PrefixMatch(10_000, (0,))
