"""Uniform decode of one stage: times by hand, and the same records and members in one commit as in several."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.uniform_decode import UniformDecode
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence
from tests.serving.fast_forward.test_decode_pool import decoding
from tests.serving.step_times import Linear


class PoolScheduler:
    """Commits uniform steps to one pool."""

    def __init__(self, pool: DecodePool) -> None:
        self.pool = pool

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        finishing = self.pool.advance(steps)
        self.pool.last_tokens.time_ns = end_ns
        return finishing


def plan_of(head_ns: tuple[int, ...], steps_ns: list[int], *members: Sequence) -> UniformDecode:
    """Return a plan of one pool with these members."""
    pool = DecodePool(4)
    for sequence in members:
        pool.add(sequence)
    return UniformDecode(head_ns, np.array(steps_ns, np.int64), (pool,), PoolScheduler(pool), is_finishing=False)


def test_steps_follow_each_other() -> None:
    """With one batch in flight at most, each step is scheduled when the one before ends."""
    plan = plan_of((100,), [10, 20, 30], decoding(1, 4, 9))
    assert [plan.scheduled_ns(step) for step in range(4)] == [100, 110, 130, 160]
    assert (plan.start_ns, plan.last_end_ns, plan.steps) == (100, 160, 3)
    assert [plan.steps_scheduled_by(now) for now in (99, 100, 109, 110, 129, 130, 160)] == [0, 1, 1, 2, 2, 3, 3]
    assert [plan.in_flight_after(upto) for upto in (1, 2, 3)] == [[110], [130], [160]]


def test_asynchronous_steps_are_scheduled_one_ahead() -> None:
    """With two batches in flight, the first steps are scheduled at 100 and at 150, when the batch in flight ends; each
    later one when the second before it ends.
    """
    plan = plan_of((100, 150), [10, 20, 30], decoding(1, 4, 9))
    assert plan.start_ns == 150
    assert [plan.scheduled_ns(step) for step in range(4)] == [100, 150, 160, 180]
    assert [plan.steps_scheduled_by(now) for now in (99, 100, 149, 150, 159, 160)] == [0, 1, 1, 2, 2, 3]
    assert [plan.in_flight_after(upto) for upto in (1, 2, 3)] == [[150, 160], [160, 180], [180, 210]]


def test_blocks_count_from_what_is_committed() -> None:
    """A member at 3 tokens takes a block in the second step, one at 4 in the first; both none in the next two."""
    plan = plan_of((100,), [10] * 4, decoding(1, 3, 9), decoding(2, 4, 9))
    assert [plan.blocks_before(now) for now in (100, 101, 110, 111, 131)] == [0, 1, 1, 2, 2]
    plan.offset = 1
    plan._pools[0].advance(1)
    assert [plan.blocks_before(now) for now in (110, 111, 131)] == [0, 1, 1]


@settings(deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(1, 50), min_size=2, max_size=12), st.data())
@pytest.mark.parametrize("late_ns", [0, 60])
def test_portions_change_nothing(late_ns: int, late: int, steps_ns: list[int], data: st.DataObject) -> None:
    """Log, pipeline and members are the same after one commit as after several, also when the last tokens of some
    members came before those of the others.
    """
    ends = []
    portions = sorted({*data.draw(st.lists(st.integers(1, len(steps_ns)), max_size=3)), len(steps_ns)})
    for cuts in ([len(steps_ns)], portions):
        members = [decoding(number, 5 + number, len(steps_ns) + number % 2) for number in range(4)]
        plan = plan_of((100,), steps_ns, *members)
        pool = plan._pools[0]
        pool.last_tokens.time_ns = 100
        pool.last_tokens.unsynchronised = members[:late]
        for sequence in members[:late]:
            sequence.last_token_ns = late_ns
        log, pipeline = ReplicaLog(0), Pipeline(Linear())
        for upto in cuts:
            finishing = plan.commit(upto, pipeline, log)
        gaps_ns = [steps_ns[0] + (100 - late_ns if number < late else 0) for number in range(4)]
        assert log.counters().itl_sum_ns == sum(gaps_ns) + 4 * sum(steps_ns[1:])
        assert [sequence.request_id for sequence in finishing] == [0, 2]
        ends.append((log.counters(), pipeline.free_ns, pipeline.busy_ns, pipeline.iterations, pool.kv_tokens))
    assert ends[0] == ends[1]
    assert ends[0][1:4] == ([100 + sum(steps_ns)], [sum(steps_ns)], len(steps_ns))
