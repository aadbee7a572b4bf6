"""Steps in which the members of a windowed pool touch their blocks, against every member and step one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from tests.serving.fast_forward.test_decode_pool import decoding
from tests.serving.fast_forward.test_windowed_pool import GROUPS


def test_steps_by_hand() -> None:
    """A window of 8 in blocks of 4.  A member at 6 computed tokens fills a block in step 1 (its eighth token), takes
    one in step 2 and loses one in step 5, when 4 of its 11 tokens are out of sight; as a fresh one it counts in step 0.
    """
    pool = WindowedPool(4, KvGroups(full=1, windowed=1, window_tokens=8), names_blocks=True)
    pool.add(decoding(1, 6, 20))
    assert [step for step, _ in pool.due(6)] == [0, 1, 2, 5]
    pool.advance(1)
    assert [step for step, _ in pool.due(5)] == [0, 1, 4]


def test_members_come_in_order_of_admission() -> None:
    """Members of one step are given as the running list has them, whenever they joined the pool; who left is gone."""
    pool = WindowedPool(4, KvGroups(full=0, windowed=1, window_tokens=4), names_blocks=True)
    members = [decoding(number, 8, 20) for number in (3, 1, 2)]
    for sequence in members:
        pool.add(sequence)
    assert [sequence.order for sequence in pool.due(1)[0][1]] == [1, 2, 3]
    pool.remove(members[1])
    assert [sequence.order for sequence in pool.due(1)[0][1]] == [2, 3]


def test_a_pool_that_only_counts_cannot_say() -> None:
    """Without names of blocks nobody may ask for them."""
    with pytest.raises(AssertionError):
        WindowedPool(4, KvGroups(full=0, windowed=1, window_tokens=4)).due(1)


@settings(deadline=None)
@given(
    GROUPS,
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=8),
    st.integers(0, 12),
    st.integers(1, 40),
)
def test_no_touch_is_missed(groups: KvGroups, members: list[tuple[int, int]], made: int, steps: int) -> None:
    """Whoever takes, fills or gives back a block in a step is due in it, and steps without anyone are left out."""
    pool = WindowedPool(4, groups, names_blocks=True)
    for number, (prompt, left) in enumerate(members):
        pool.add(decoding(number, prompt, left + made))
    if made:
        pool.advance(min(made, pool.steps_to_finish()))
    due = {step: {sequence.request_id for sequence in sequences} for step, sequences in pool.due(steps)}
    assert sorted(due) == [step for step, _ in pool.due(steps)]
    assert all(due.values())
    assert all(0 <= step < steps for step in due)
    for step in range(steps):
        for sequence in pool.members.values():
            computed = sequence.base + pool.step + step
            lost = groups.skipped_tokens(computed) // 4 - groups.skipped_tokens(computed - 1) // 4
            if computed % 4 == 0 or (computed + 1) % 4 == 0 or lost:
                assert sequence.request_id in due[step]
