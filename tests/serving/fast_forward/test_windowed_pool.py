"""Decode pool over KV cache groups: closed forms against one member and one step at a time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.sequence import Sequence
from tests.serving.fast_forward.test_decode_pool import decoding

GROUPS = st.builds(
    KvGroups,
    full=st.integers(0, 2),
    windowed=st.integers(1, 3),
    window_tokens=st.integers(1, 5).map(lambda blocks: blocks * 4),
    is_chunked=st.booleans(),
) | st.builds(KvGroups, full=st.integers(0, 1), windowed=st.just(1), window_tokens=st.integers(1, 19))


def test_counts_by_hand() -> None:
    """A window of 6 tokens in blocks of 4, one full group: at 8 computed tokens nothing is out of sight, 3 tokens are
    (the next sees 3..8), at 9 four are, so the step from 9 on gives one block; the step from 8 takes two.
    """
    pool = WindowedPool(4, KvGroups(full=1, windowed=1, window_tokens=6))
    sequence = decoding(1, 8, 20)
    pool.add(sequence)
    assert [pool.blocks_for(steps) for steps in (1, 2, 5, 6, 9, 10)] == [2, 1, 3, 2, 4, 3]
    assert pool.blocks_taken() == 2
    # Peaks: two blocks in the first step; one is given in the second, so two more in the fifth make three.
    assert [pool.steps_within(free, 20) for free in (1, 2, 3, 4)] == [0, 4, 8, 12]
    assert [pool.steps_below(1, 20), WindowedPool(4, pool.groups).steps_below(1, 20)] == [20, 20]
    pool.advance(6)
    pool.dissolve()
    assert (sequence.computed, sequence.skipped_blocks) == (14, 2)


def test_what_a_prompt_leaves_is_given_with_the_first_step() -> None:
    """A prompt of 40 tokens in one chunk holds 10 blocks; its first decode keeps 37..40 of a window of 5."""
    pool = WindowedPool(4, KvGroups(full=0, windowed=1, window_tokens=5))
    pool.add(decoding(1, 40, 9))
    # 36 tokens are out of sight: 9 blocks are given and one is taken; 8 blocks less afterwards, for good.
    assert [pool.blocks_for(steps) for steps in (1, 2, 3, 4, 5, 9)] == [-8, -8, -8, -8, -8, -8]
    assert [pool.steps_below(blocks, 9) for blocks in (9, 8, 1)] == [9, 0, 0]
    assert [pool.steps_within(free, 9) for free in (0, 1)] == [0, 9]


@settings(deadline=None)
@given(
    GROUPS,
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=8),
    st.integers(0, 12),
    st.integers(0, 30),
    st.integers(0, 60),
)
def test_closed_forms_equal_single_steps(
    groups: KvGroups, members: list[tuple[int, int, int]], made: int, part: int, blocks: int
) -> None:
    """Net blocks of j steps are what walking every member gives; steps that are said to fit, or to free little, do.

    Every second member joins some steps later; a part of the steps is made first.
    """
    pool = WindowedPool(4, groups)
    late: list[Sequence] = []
    for number, (prompt, left, chunk) in enumerate(members):
        sequence = decoding(number, prompt, left + made + part)
        sequence.skipped_blocks = groups.skipped_tokens(max(0, prompt - chunk)) // 4
        if number % 2:
            late.append(sequence)
        else:
            pool.add(sequence)
    if made:
        pool.advance(made)
    for sequence in late:
        pool.add(sequence)
    if part:
        pool.advance(part)
    state = {
        sequence: [
            sequence.base + pool.step,
            sequence.skipped_blocks
            if sequence.request_id in pool._fresh
            else groups.skipped_tokens(sequence.base + pool.step - 1) // 4,
        ]
        for sequence in pool.members.values()
    }
    levels, peaks = [0], []
    for _ in range(pool.steps_to_finish()):
        taken = given = 0
        for member in state.values():
            skipped = groups.skipped_tokens(member[0]) // 4
            given += groups.windowed * (skipped - member[1])
            taken += groups.count * (member[0] % 4 == 0)
            member[:] = member[0] + 1, skipped
        peaks.append(levels[-1] + taken)
        levels.append(levels[-1] + taken - given)
    steps = len(peaks)
    assert [pool.blocks_for(j) for j in range(steps + 1)] == levels
    assert pool.blocks_taken() == peaks[0]
    assert all(peak <= blocks for peak in peaks[: pool.steps_within(blocks, steps)])
    assert all(-level <= blocks for level in levels[1 : 1 + pool.steps_below(blocks + 1, steps)])
    assert pool.advance(steps)
    pool.dissolve()
    assert {sequence: [sequence.computed, sequence.skipped_blocks] for sequence in state} == state
