"""The run-based prefix cache against vLLM's rules: hand-worked cases and a naive per-block reference."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.block_pool import BlockPool
from cluster_sim.serving.kv_cache.content import SHARED, Content, content_of, stream_of
from cluster_sim.workload.request import Attributes, Request
from tests.copied import copied


class NaiveCache:
    """One object a block, one dictionary of hashes, one ordered queue: vLLM's structure written out."""

    def __init__(self, total_blocks: int, block_size: int) -> None:
        self.size = block_size
        self.queue: OrderedDict[int, None] = OrderedDict((block, None) for block in range(total_blocks))
        self.hash_of: dict[int, tuple] = {}
        self.cached: dict[tuple, list[int]] = {}
        self.references = [0] * total_blocks
        self.held: dict[int, list[int]] = {}
        self.tokens: dict[int, list] = {}

    @staticmethod
    def token_names(content: Content, count: int) -> list:
        """Name the first ``count`` tokens: equal names at equal positions behind equal names mean equal content."""
        names: list = [content.namespace]
        for stream, start, end in content.pieces:
            names += [(stream, offset) for offset in range(min(end, count) - start)]
        return names

    def block_hash(self, names: list, index: int) -> tuple:
        return tuple(names[: 1 + (index + 1) * self.size])

    def match(self, content: Content, tokens: int) -> list[int]:
        names = self.token_names(content, tokens)
        found: list[int] = []
        for index in range((tokens - 1) // self.size):
            copies = self.cached.get(self.block_hash(names, index))
            if not copies:
                break
            found.append(copies[0])
        return found

    def admit(self, key: int, content: Content, tokens: int) -> None:
        found = self.match(content, tokens)
        for block in found:
            self.queue.pop(block, None)
            self.references[block] += 1
        self.held[key] = found
        self.tokens[key] = content

    def take(self, key: int, count: int) -> None:
        for _ in range(count):
            block, _ = self.queue.popitem(last=False)
            if block in self.hash_of:
                copies = self.cached[self.hash_of.pop(block)]
                copies.remove(block)
            self.references[block] = 1
            self.held[key].append(block)

    def commit(self, key: int, tokens: int) -> None:
        names = self.token_names(self.tokens[key], tokens)
        for index, block in enumerate(self.held[key][: tokens // self.size]):
            if block not in self.hash_of:
                self.hash_of[block] = self.block_hash(names, index)
                self.cached.setdefault(self.hash_of[block], []).append(block)

    def release(self, key: int) -> None:
        for block in reversed(self.held.pop(key)):
            self.references[block] -= 1
            if self.references[block] == 0:
                self.queue[block] = None


def content(*pieces: tuple[int, int]) -> Content:
    """Return a content of shared segments, the last one open."""
    chain, position = [], 0
    for segment, tokens in pieces:
        chain.append((stream_of(SHARED, segment), position, position + tokens))
        position += tokens
    chain[-1] = (*chain[-1][:2], 1 << 40)
    return Content("", tuple(chain))


def fill(cache: BlockPool, key: int, what: Content, tokens: int) -> int:
    """Admit a sequence, take the missing blocks, commit all tokens; return the hit in blocks."""
    match = cache.match(what, tokens)
    hit = match.blocks
    cache.admit(key, what, match)
    cache.take(-(-tokens // cache.block_size) - hit)
    cache.commit(key, tokens)
    return hit


def named_blocks(cache: BlockPool) -> int:
    """Return how many blocks have a hash."""
    return sum(run.end - run.start for node in cache._nodes.values() for run in node.runs)


def test_content_of_private_request_is_one_open_piece() -> None:
    """A request without segments is one stream that only it can name."""
    one, other = content_of(Request(1, 0, 10, 5)), content_of(Request(2, 0, 10, 5))
    assert len(one.pieces) == 1
    assert one.pieces[0][0] != other.pieces[0][0]


def test_content_of_segments_is_cut_and_filled_to_the_prompt() -> None:
    """Segments longer than the prompt are cut; a prompt longer than its segments ends in private tokens."""
    cut = content_of(Request(1, 0, 10, 5, Attributes(segments=((7, 8), (8, 8)))))
    assert [(start, end) for _, start, end in cut.pieces[:2]] == [(0, 8), (8, 10)]
    filled = content_of(Request(1, 0, 10, 5, Attributes(segments=((7, 8),), output_segment=9)))
    assert [piece[1] for piece in filled.pieces] == [0, 8, 10]
    assert filled.pieces[2][0] == stream_of(SHARED, 9)


def test_fully_cached_prompt_recomputes_its_last_block() -> None:
    """48 cached tokens asked again as a prompt of 48 hit two blocks of 16, not three; 49 tokens hit all three."""
    cache = BlockPool(10, 16)
    fill(cache, 1, content((5, 100)), 48)
    assert cache.match(content((5, 100)), 48).blocks == 2
    assert cache.match(content((5, 100)), 49).blocks == 3
    assert cache.match(content((5, 100)), 1).blocks == 0


def test_duplicate_of_a_cached_block_stays_beside_it() -> None:
    """The recomputed last block is a second copy: it takes a block of its own and survives the first one's end."""
    cache = BlockPool(10, 16)
    fill(cache, 1, content((5, 100)), 48)
    assert fill(cache, 2, content((5, 100)), 48) == 2
    assert cache.free_blocks == 6
    cache.release(1, 3)
    assert cache.free_blocks == 7
    cache.release(2, 3)
    cache.take(7)  # six never used, then the first sequence's third block
    assert cache.match(content((5, 100)), 100).blocks == 3
    cache.take(1)
    assert cache.match(content((5, 100)), 100).blocks == 2


def test_tail_is_evicted_before_head_and_older_before_newer() -> None:
    """Free blocks are reused in the order they were freed, a sequence's last block first."""
    cache = BlockPool(8, 4)
    fill(cache, 1, content((1, 16)), 16)
    fill(cache, 2, content((2, 16)), 16)
    cache.release(1, 4)
    cache.release(2, 4)
    cache.take(3)
    assert (cache.match(content((1, 16)), 100).blocks, cache.match(content((2, 16)), 100).blocks) == (1, 4)
    cache.take(2)
    assert (cache.match(content((1, 16)), 100).blocks, cache.match(content((2, 16)), 100).blocks) == (0, 3)


def test_a_hit_on_free_blocks_counts_against_the_free_ones() -> None:
    """Blocks found in the free queue are no longer free once admitted."""
    cache = BlockPool(8, 4)
    fill(cache, 1, content((1, 16)), 16)
    cache.release(1, 4)
    match = cache.match(content((1, 16)), 16)
    assert (match.blocks, match.free_blocks, cache.free_blocks) == (3, 3, 8)
    cache.admit(2, content((1, 16)), match)
    assert cache.free_blocks == 5
    assert cache.match(content((1, 16)), 16).free_blocks == 0


def test_namespaces_share_nothing() -> None:
    """The same tokens under another adapter are other content."""
    cache = BlockPool(8, 4)
    plain = content((1, 16))
    fill(cache, 1, plain, 16)
    assert cache.match(Content("adapter", plain.pieces), 100).blocks == 0


def test_later_turn_hits_the_generated_tokens() -> None:
    """Blocks filled by output are found by a turn whose segments name the output, up to the last full block."""
    cache = BlockPool(20, 4)
    first = content_of(Request(0, 0, 10, 8, Attributes(segments=((1, 10),), output_segment=2)))
    fill(cache, 0, first, 17)
    cache.release(0, 5)
    second = content_of(Request(1, 0, 24, 8, Attributes(segments=((1, 10), (2, 8), (3, 6)), output_segment=4)))
    assert cache.match(second, 24).blocks == 4


SEGMENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=4)
STEP = st.tuples(
    st.sampled_from(["admit", "grow", "release", "probe"]), st.integers(0, 7), SEGMENTS, st.integers(1, 30)
)


@settings(max_examples=300, deadline=None)
@given(st.integers(4, 24), st.sampled_from([1, 2, 4]), st.lists(STEP, max_size=60))
@pytest.mark.parametrize("is_restored", [False, True])
def test_equals_the_naive_reference(is_restored: bool, total: int, size: int, steps: list) -> None:
    """Hits, free blocks and hashed blocks equal those of a per-block cache after every operation, restored or not."""
    cache, naive = BlockPool(total, size), NaiveCache(total, size)
    lengths: dict[int, int] = {}
    for action, key, pieces, tokens in steps:
        what = content(*pieces)
        if action == "admit" and key not in lengths:
            match, found = cache.match(what, tokens), naive.match(what, tokens)
            assert match.blocks == len(found)
            assert match.free_blocks == sum(naive.references[block] == 0 for block in found)
            need = -(-tokens // size) - len(found)
            if need + match.free_blocks > cache.free_blocks:
                continue
            cache.admit(key, what, match)
            naive.admit(key, what, tokens)
            cache.take(need)
            naive.take(key, need)
            lengths[key] = tokens
            computed = len(found) * size + (tokens - len(found) * size + 1) // 2
            cache.commit(key, computed)
            naive.commit(key, computed)
        elif action == "grow" and key in lengths:
            longer = lengths[key] + tokens
            need = -(-longer // size) - -(-lengths[key] // size)
            if need > cache.free_blocks:
                continue
            cache.take(need)
            naive.take(key, need)
            lengths[key] = longer
            cache.commit(key, longer)
            naive.commit(key, longer)
        elif action == "release" and key in lengths:
            cache.release(key, -(-lengths.pop(key) // size))
            naive.release(key)
        if is_restored and action == "probe":
            cache = copied(cache)
        cache.validate()
        assert cache.match(what, tokens).blocks == len(naive.match(what, tokens))
        assert (cache.free_blocks, named_blocks(cache)) == (len(naive.queue), len(naive.hash_of))


def test_snapshots_of_a_long_queue_and_chain_are_flat() -> None:
    """Snapshots do not recurse along the queue or the chain of segments."""
    cache = BlockPool(20_000, 4)
    for key in range(5_000):
        fill(cache, key, content(*((segment, 4) for segment in range(key, key + 2))), 8)
        cache.release(key, 2)
    long = content(*((10_000 + segment, 4) for segment in range(3_000)))
    fill(cache, 9_999, long, 12_000)
    again = copied(cache)
    again.validate()
    assert again.match(long, 12_000).blocks == cache.match(long, 12_000).blocks == 2_999


def test_a_conversation_is_one_run_of_blocks_however_long() -> None:
    """100 turns of 24 tokens go on with one segment: each finds all whole blocks before it, as one part of one run."""
    pool = BlockPool(1000, 16)
    for turn in range(100):
        prompt = 24 * turn + 20
        attributes = Attributes(segments=((7, prompt),), output_segment=7)
        talk = content_of(Request(turn, 0, prompt, 4, attributes))
        match = pool.match(talk, prompt)
        assert match.blocks == 24 * turn // 16
        assert (len(talk.pieces), len(match.parts)) == (1, min(match.blocks, 1))
        pool.admit(turn, talk, match)
        held = -(-(prompt + 4) // 16)
        pool.take(held - match.blocks)
        pool.commit(turn, prompt + 4)
        pool.release(turn, held)
        pool.validate()
