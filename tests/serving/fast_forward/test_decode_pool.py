"""Decode pool: counts by hand, and closed forms against one step at a time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request


def decoding(request_id: int, prompt_tokens: int, left: int) -> Sequence:
    """Return a sequence whose prompt is computed and that has ``left`` tokens to yield after its first."""
    sequence = Sequence(Request(request_id, 0, prompt_tokens, left + 1), 0, 0)
    sequence.computed, sequence.generated, sequence.order = prompt_tokens, 1, request_id
    return sequence


def test_counts_by_hand() -> None:
    """Prompts of 3 and 4 tokens in blocks of 4: the second takes a block in the first step, the first in the second."""
    pool = DecodePool(4)
    first, second = decoding(1, 3, 2), decoding(2, 4, 5)
    pool.add(first)
    pool.add(second)
    assert (pool.kv_tokens, pool.steps_to_finish()) == (7, 2)
    assert [pool.blocks_for(steps) for steps in (1, 2, 3, 4, 5, 6)] == [1, 2, 2, 2, 3, 4]
    assert [pool.steps_within(free, 6) for free in (0, 1, 2, 3, 4)] == [0, 1, 4, 5, 6]
    assert pool.advance(1) == []
    assert pool.kv_tokens == 9
    assert pool.advance(1) == [first]
    assert (first.computed, first.generated) == (5, 3)
    assert (pool.kv_tokens, pool.steps_to_finish()) == (6, 3)
    pool.dissolve()
    assert (second.computed, second.generated, pool.members, pool.kv_tokens) == (6, 3, {}, 0)


def test_equal_last_steps_leave_in_admission_order() -> None:
    """Two sequences that finish in one step leave in the order of their admission, whenever they joined."""
    pool = DecodePool(4)
    late, early = decoding(7, 3, 2), decoding(2, 9, 2)
    pool.add(late)
    pool.add(early)
    assert pool.advance(2) == [early, late]


def test_last_token_times() -> None:
    """Members that made the last step have its time; a new one keeps its own until it has made a step."""
    pool = DecodePool(4)
    old = decoding(1, 3, 9)
    pool.add(old)
    pool.advance(1)
    pool.last_tokens.time_ns = 500
    new = decoding(2, 3, 9)
    new.last_token_ns = 700
    pool.add(new)
    assert pool.last_tokens.unsynchronised == [new]
    pool.dissolve()
    assert (old.last_token_ns, new.last_token_ns) == (500, 700)


@settings(deadline=None)
@given(
    st.sampled_from((1, 3, 16)),
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=8),
    st.integers(0, 12),
    st.integers(0, 40),
)
def test_closed_forms_equal_single_steps(
    block_size: int, members: list[tuple[int, int]], made: int, free_blocks: int
) -> None:
    """Blocks of j steps, and the steps that fit, are what counting every member's blocks step by step gives."""
    pool = DecodePool(block_size)
    for number, (prompt, left) in enumerate(members):
        pool.add(decoding(number, prompt, left + made))
    pool.advance(min(made, pool.steps_to_finish() - 1))
    held = [sequence.base + pool.step for sequence in pool.members.values()]
    steps = pool.steps_to_finish()
    taken = [
        sum(-(-(tokens + j) // block_size) - -(-tokens // block_size) for tokens in held) for j in range(steps + 1)
    ]
    assert [pool.blocks_for(j) for j in range(1, steps + 1)] == taken[1:]
    assert pool.steps_within(free_blocks, steps) == max(j for j in range(steps + 1) if taken[j] <= free_blocks)
    assert pool.kv_tokens == sum(held)
