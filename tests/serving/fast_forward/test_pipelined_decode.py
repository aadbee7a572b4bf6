"""Pipelined decode against batches sent through the stages one by one."""

from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.jitter import Jitter
from cluster_sim.hardware.predictors.kinds.roofline import RooflinePredictor
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.pipelined_decode import PipelinedDecode, pipelined_steps
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request
from tests.hardware.replicas import hardware

BLOCK = 4


def pool_of(number: int, members: list[tuple[int, int]]) -> DecodePool:
    """Return a pool of sequences by (prompt tokens, tokens still to come), one token of each being there."""
    pool = DecodePool(BLOCK)
    for index, (prompt, left) in enumerate(members):
        sequence = Sequence(Request(100 * number + index, 0, prompt, 1 + left), 0, 0)
        sequence.computed, sequence.generated, sequence.order = prompt, 1, index
        pool.add(sequence)
    pool.last_tokens.unsynchronised.clear()
    return pool


def pipeline_of(stages: int, jitter: float) -> Pipeline:
    predictor = RooflinePredictor(hardware(pipeline_parallel=stages))
    noises = tuple(Jitter(jitter, 1, 0, stage) for stage in range(stages))
    return Pipeline(predictor, jitters=noises if jitter else ())


MEMBERS = st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 12)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(MEMBERS, min_size=1, max_size=4),
    stages=st.sampled_from([2, 4]),
    jitter=st.sampled_from([0.0, 0.1]),
    data=st.data(),
)
def test_equals_batches_one_by_one(
    groups: list[list[tuple[int, int]]], stages: int, jitter: float, data: st.DataObject
) -> None:
    """Ends, gaps, decodes, stage times and blocks of a run are those of its batches sent singly, wherever it is cut."""
    planned, single = pipeline_of(stages, jitter), pipeline_of(stages, jitter)
    pools = [pool_of(number, members) for number, members in enumerate(groups)]
    heads = []
    for pool in pools:
        shape = BatchShape(0, 0, [(sequence.prompt_tokens, 0) for sequence in pool.members.values()], len(pool))
        heads.append(planned.run(shape, 0)[1])
        single.run(shape, 0)
        pool.last_tokens.time_ns = heads[-1]
    steps, is_finishing = pipelined_steps(pools, 1 << 40, 1000)
    assert is_finishing
    costs = planned.pipelined_costs_ns(pools, steps)
    run = PipelinedDecode(pools, heads, costs, planned.free_ns, None, is_finishing=is_finishing)

    scheduled, rows, taken = list(heads), [], []
    tokens = [pool.kv_tokens for pool in pools]
    contexts = [[sequence.computed for sequence in pool.members.values()] for pool in pools]
    for step in range(steps):
        turn = step % len(pools)
        _, end = single.run(BatchShape(len(pools[turn]), tokens[turn]), scheduled[step])
        rows.append((end, end - scheduled[step], len(pools[turn])))
        taken.append(sum(context % BLOCK == 0 for context in contexts[turn]))
        tokens[turn] += len(pools[turn])
        contexts[turn] = [context + 1 for context in contexts[turn]]
        scheduled.append(end)
    assert [run.scheduled_ns(step) for step in range(steps + 1)] == scheduled[: steps + 1]
    assert run.last_end_ns == scheduled[-1]

    cut = data.draw(st.integers(1, steps))
    for upto in sorted({cut, steps}):
        ends, gaps = run.recorded_steps(upto)
        decodes = run.recorded_decodes(upto)
        assert list(zip(ends.tolist(), gaps.tolist(), decodes.tolist(), strict=True)) == rows[run.offset : upto]
        before = bisect_left(scheduled, scheduled[upto - 1], 0, steps)
        assert before < run.offset or run.blocks_before(scheduled[upto - 1]) == sum(taken[run.offset : before])
        assert run.blocks_before(scheduled[upto - 1] + 1) == sum(taken[run.offset : upto])
        assert run.in_flight_after(upto) == scheduled[upto : upto + len(pools)]
        free_ns, busy_ns = run.stage_times(upto)
        planned.occupy_all(free_ns, busy_ns, upto - run.offset, run.latest(upto))
        finished = [pool.advance(turns) for pool, turns in zip(pools, run.turns(upto), strict=True)]
        run.offset = upto
    assert any(finished)
    assert (planned.free_ns, planned.busy_ns, planned.iterations) == (single.free_ns, single.busy_ns, single.iterations)


@settings(max_examples=100, deadline=None)
@given(groups=st.lists(MEMBERS, min_size=1, max_size=4), free=st.integers(0, 12), most=st.integers(2, 40))
def test_steps_end_where_memory_or_a_member_does(groups: list[list[tuple[int, int]]], free: int, most: int) -> None:
    """A run takes no more blocks than are free, one more batch would, finish nobody early or pass the limit."""
    pools = [pool_of(number, members) for number, members in enumerate(groups)]
    steps, is_finishing = pipelined_steps(pools, free, most)

    def blocks(steps: int) -> int:
        turns = [len(range(index, steps, len(pools))) for index in range(len(pools))]
        return sum(pool.blocks_for(count) for pool, count in zip(pools, turns, strict=True))

    finish = min((pool.steps_to_finish() - 1) * len(pools) + index + 1 for index, pool in enumerate(pools))
    assert blocks(steps) <= free
    assert steps <= min(most, finish)
    assert is_finishing == (steps == finish)
    assert steps == min(most, finish) or blocks(steps + 1) > free
