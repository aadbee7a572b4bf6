"""TensorRT-LLM's in-flight batching, step by step on hand-worked queues."""

from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.request import Attributes
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


def turn(*segments: tuple[int, int], output: int = -1) -> Attributes:
    return Attributes(segments=segments, output_segment=output)


def test_a_context_begins_behind_the_blocks_of_an_earlier_one() -> None:
    """Of 10 shared tokens two whole blocks of 4 are found; a prompt that is all there computes its last block again."""
    bench = Bench(blocks=100)
    bench.add(0, 12, 2, turn((1, 10), (2, 2)))
    assert bench.steps(3) == ["d: p:0*12", "d:0 p:", ""]
    second = bench.add(1, 16, 1, turn((1, 10), (3, 6)))
    third = bench.add(2, 12, 1, turn((1, 10), (2, 2)))
    assert bench.step() == "d: p:1*8 2*4"
    assert (second.cached_tokens, third.cached_tokens) == (8, 8)
    assert bench.scheduler.kv_used_blocks == 0


def test_a_later_turn_finds_the_output_too() -> None:
    """8 prompt and 8 output tokens, of which the last is never computed, leave 3 whole blocks of 4."""
    bench = Bench(blocks=100)
    bench.add(0, 8, 8, turn((1, 8), output=2))
    while bench.step():
        pass
    later = bench.add(1, 20, 1, turn((1, 8), (2, 8), (3, 4)))
    assert bench.step() == "d: p:1*8"
    assert later.cached_tokens == 12


def test_without_reuse_everything_is_computed() -> None:
    """With the option off equal prompts share nothing."""
    bench = Bench(blocks=100, enable_prefix_caching=False)
    for request_id in range(2):
        bench.add(request_id, 12, 1, turn((1, 12)))
        assert bench.step() == f"d: p:{request_id}*12"
    assert not bench.scheduler.has_prefix_cache


def test_reused_blocks_count_once_for_what_fits_now() -> None:
    """MAX_UTILIZATION: of 8 blocks a running request holds 4, which a second shares, so that its 5th to 8th block fit
    too; a third, which shares none, waits.
    """
    bench = Bench(blocks=8, capacity_policy="max_utilization")
    bench.add(0, 16, 9, turn((1, 16)))
    assert bench.step() == "d: p:0*16"
    bench.add(1, 28, 1, turn((1, 16), (2, 12)))
    bench.add(2, 4, 1, turn((3, 4)))
    assert bench.step() == "d:0 p:1*12"
    assert bench.scheduler.kv_used_blocks == 5, "the prompt of 0 and the block of its first output token"
    assert bench.step() == "d:0 p:2*4"
