"""The longest cached prefix first: prompts that share the same are asked for once."""

from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.hashed_blocks import HashedCache
from cluster_sim.serving.queue_orders.lpm import LongestPrefixMatch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.request import Attributes
from tests.serving.schedulers.bench import SchedulerBench


def bench_of(blocks: int = 60, budget: int = 64, seqs: int = 4) -> SchedulerBench:
    limits = SchedulerLimits(
        kv_blocks=blocks,
        block_size=4,
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        max_model_len=1 << 20,
        pipeline_parallel=1,
        batches_in_flight=1,
        is_async=False,
        can_fast_forward=False,
    )
    return SchedulerBench(
        build_scheduler(engine_options(kind="vllm_v1", policy="lpm", enable_prefix_caching=True), limits)
    )


ARRIVAL = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 30), st.integers(1, 12), st.integers(0, 2))


@settings(max_examples=100, deadline=None)
@given(arrivals=st.lists(ARRIVAL, min_size=1, max_size=25), blocks=st.integers(40, 90), budget=st.integers(8, 80))
def test_batches_are_those_of_asking_everybody(arrivals: list, blocks: int, budget: int) -> None:
    """Groups change no batch, preemptions and prompts that end with their shared part included."""
    taken: list[list[str]] = []
    for asks_everybody in (False, True):
        own = mock.patch.object(LongestPrefixMatch, "group", lambda _, sequence: sequence.key)
        if asks_everybody:
            own.start()
        bench = bench_of(blocks, budget)
        steps = []
        for index, (group, subgroup, prompt, output, batches) in enumerate(arrivals):
            segments = ((group, 10), (10 + 3 * group + subgroup, 15))[: 1 + subgroup % 2]
            attributes = Attributes(segments=segments, output_segment=100 + index)
            bench.add(index, sum(tokens for _, tokens in segments) + prompt, output, attributes)
            steps += bench.steps(batches)
        steps += bench.steps(500)
        if asks_everybody:
            own.stop()
        taken.append(steps)
    assert taken[0] == taken[1]


def test_lookups_do_not_grow_with_the_queue() -> None:
    """Of 100 and of 400 waiting prompts of 5 prefixes, about as many are looked up for each that runs."""
    lookups = []
    for count in (100, 400):
        bench = bench_of(blocks=1000, budget=200, seqs=8)
        for index in range(count):
            bench.add(index, 60, 2, Attributes(segments=((index % 5, 40),)))
        find = HashedCache.match_prefix
        with mock.patch.object(HashedCache, "match_prefix", autospec=True, side_effect=find) as found:
            while bench.scheduler.waiting_count:
                bench.step()
        lookups.append(found.call_count / count)
    assert lookups[1] <= 1.3 * lookups[0]
