"""TensorRT-LLM's in-flight batching, step by step on hand-worked queues."""

from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from tests.serving.schedulers.bench import SchedulerBench


class Bench(SchedulerBench):
    """TensorRT-LLM with blocks of 4 tokens."""

    def __init__(self, blocks: int, tokens: int = 64, **engine: object) -> None:
        limits = SchedulerLimits(
            kv_blocks=blocks,
            block_size=4,
            max_num_seqs=8,
            max_num_batched_tokens=tokens,
            max_model_len=1000,
            pipeline_parallel=1,
            batches_in_flight=1,
            is_async=False,
            can_fast_forward=False,
        )
        super().__init__(build_scheduler(engine_options(kind="tensorrt_llm", **engine), limits))


def test_contexts_join_decodes_in_one_step_in_whole_blocks() -> None:
    """Of a budget of 16, the decode takes 1 and a context of 30 gets 12, 12 and the last 6."""
    bench = Bench(blocks=100, tokens=16)
    bench.add(0, 10, 6)
    assert bench.step() == "d: p:0*10"
    bench.add(1, 30, 2)
    assert bench.steps(4) == ["d:0 p:1*12", "d:0 p:1*12", "d:0 p:1*6", "d:01 p:"]


def test_without_chunks_a_context_waits_for_room() -> None:
    """A context of 14 does not fit beside 3 decodes in 16 tokens and starts when one of them has ended."""
    bench = Bench(blocks=100, tokens=16, enable_chunked_prefill=False)
    for request_id in range(3):
        bench.add(request_id, 4, 2 + request_id)
    assert bench.step() == "d: p:0*4 1*4 2*4"
    bench.add(3, 14, 2)
    assert bench.steps(3) == ["d:012 p:", "d:12 p:3*14", "d:23 p:"]


def test_guaranteed_no_evict_starts_what_can_run_to_its_end() -> None:
    """Each request needs 5 blocks in the end; of 12, two are started, though three prompts of 2 blocks would fit."""
    bench = Bench(blocks=12)
    sequences = [bench.add(request_id, 8, 13) for request_id in range(3)]
    assert bench.step() == "d: p:0*8 1*8"
    assert bench.steps(12) == ["d:01 p:"] * 12
    assert bench.step() == "d: p:2*8"
    assert all(sequence.preemptions == 0 for sequence in sequences)


def test_max_utilization_starts_all_and_pauses_the_last() -> None:
    """Three prompts fill 6 of 8 blocks; the first decode of all takes the rest, and at 12 tokens the last one goes."""
    bench = Bench(blocks=8, capacity_policy="max_utilization")
    sequences = [bench.add(request_id, 8, 13) for request_id in range(3)]
    assert bench.step() == "d: p:0*8 1*8 2*8"
    assert bench.step() == "d:01 p:"
    assert [sequence.preemptions for sequence in sequences] == [0, 0, 1]
    assert bench.scheduler.kv_used_blocks == 6
    while bench.step():
        pass
    assert [sequence.generated for sequence in sequences] == [13, 13, 13]
    assert bench.scheduler.kv_used_blocks == 0
