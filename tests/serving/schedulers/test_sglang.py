"""SGLang's scheduler, step by step on hand-worked queues, and what holds whatever arrives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.schedulers.sglang import Sglang
from cluster_sim.workload.request import Attributes
from tests.serving.schedulers.bench import SchedulerBench


class Bench(SchedulerBench):
    """SGLang in a cache of so many tokens."""

    def __init__(self, tokens: int = 1000, chunk: int = 64, seqs: int = 8, page: int = 1, **engine: object) -> None:
        limits = SchedulerLimits(
            kv_blocks=tokens // page,
            block_size=page,
            max_num_seqs=seqs,
            max_num_batched_tokens=chunk,
            max_model_len=1 << 20,
            pipeline_parallel=1,
            batches_in_flight=1,
            is_async=False,
            can_fast_forward=True,
        )
        scheduler = build_scheduler(engine_options(kind="sglang", **{"enable_prefix_caching": True, **engine}), limits)
        assert isinstance(scheduler, Sglang)
        super().__init__(scheduler)


def shared(*segments: tuple[int, int]) -> Attributes:
    return Attributes(segments=segments)


def test_prompts_come_before_decodes_and_never_with_them() -> None:
    """A new prompt interrupts decoding; with nothing waiting all decode together."""
    bench = Bench()
    bench.add(0, 10, 3)
    assert bench.steps(2) == ["d: p:0*10", "d:0 p:"]
    bench.add(1, 20, 2)
    assert bench.steps(3) == ["d: p:1*20", "d:01 p:", ""]
    assert bench.scheduler.kv_used_blocks == 0


def test_one_prompt_may_be_half_done_and_goes_on_first() -> None:
    """A prompt of 100 takes chunks of 64 and 36; 28 tokens of the second chunk go to the next one, which waits."""
    bench = Bench()
    bench.add(0, 100, 2)
    bench.add(1, 40, 2)
    assert bench.steps(4) == ["d: p:0*64", "d: p:0*36 1*28", "d: p:1*12", "d:01 p:"]


def test_chunk_is_shared_as_soon_as_it_is_computed() -> None:
    """While a prompt of 150 is at its second chunk, its first 64 tokens are in the tree for another one."""
    bench = Bench()
    bench.add(0, 150, 2, shared((1, 120), (2, 30)))
    assert bench.steps(2) == ["d: p:0*64", "d: p:0*64"]
    second = bench.add(1, 130, 2, shared((1, 120), (3, 10)))
    assert bench.step() == "d: p:0*22 1*10"
    assert second.cached_tokens == 120


def test_finished_tokens_stay_until_they_are_needed() -> None:
    """A finished request of 40 + 10 - 1 tokens stays in the tree and is evicted whole when room is short."""
    bench = Bench(tokens=100)
    bench.add(0, 40, 10, shared((1, 40)))
    bench.steps(10)
    assert bench.scheduler.memory.tree.evictable_tokens == 49
    again = bench.add(1, 40, 2, shared((1, 40)))
    bench.step()
    assert again.cached_tokens == 39
    bench.step()
    bench.add(2, 60, 2)
    assert bench.step() == "d: p:2*60"
    assert bench.scheduler.memory.free_tokens == 40


@pytest.mark.parametrize(("prompt", "expected"), [(70, "d:0 p:"), (69, "d: p:1*69")])
def test_admission_reserves_a_share_of_what_runs(prompt: int, expected: str) -> None:
    """150 tokens are left, 0.7 * 99 are spoken for: a prompt with 10 outputs and a page fits below 80.7."""
    bench = Bench(tokens=200, chunk=100)
    bench.add(0, 50, 100)
    bench.step()
    bench.add(1, prompt, 10)
    assert bench.scheduler.new_token_ratio == pytest.approx(0.7)
    assert bench.step() == expected


def test_retraction_drops_who_has_generated_least_and_raises_the_ratio() -> None:
    """25 of 60 tokens are prompts: 17 decodes of two fit; of equals the longer input goes, and waits for memory."""
    bench = Bench(tokens=60, schedule_conservativeness=0.01)
    first = bench.add(0, 15, 30)
    assert bench.step() == "d: p:0*15"
    second = bench.add(1, 10, 30)
    assert bench.step() == "d: p:1*10"
    assert bench.steps(17) == ["d:01 p:"] * 17
    assert bench.scheduler.new_token_ratio < 0.007
    assert bench.step() == "d:1 p:"
    assert (first.preemptions, second.preemptions, first.known_tokens) == (1, 0, 33)
    assert bench.scheduler.new_token_ratio == 1.0
    assert bench.steps(11) == ["d:1 p:"] * 11
    assert bench.step() == "d: p:0*18"  # its prompt is still in the tree


def test_pages_round_up() -> None:
    """With pages of 16, prompts of 20 take 32 tokens each, so 64 hold at most one with its output and a spare page."""
    bench = Bench(tokens=96, page=16)
    bench.add(0, 20, 4)
    bench.add(1, 20, 4)
    assert bench.step() == "d: p:0*20 1*20"
    assert bench.scheduler.memory.unused_tokens == 32
    bench.steps(3)
    assert bench.scheduler.kv_used_blocks == 0
    assert bench.scheduler.memory.tree.evictable_tokens == 32


@pytest.mark.parametrize(("policy", "first"), [("fcfs", 1), ("lpm", 3), ("dfs_weight", 2), ("sjf", 4)])
def test_order_of_the_queue(policy: str, first: int) -> None:
    """With lpm the first has the longest match, with dfs_weight the heavier subtree, with sjf the shortest prompt."""
    bench = Bench(policy=policy, seqs=1, tokens=2000, chunk=1000)
    bench.add(0, 100, 1, shared((1, 60), (2, 40)))
    bench.step()
    bench.add(9, 90, 1, shared((7, 90)))
    bench.step()
    bench.add(1, 80, 1, shared((3, 80)))
    bench.add(2, 61, 1, shared((7, 50), (8, 11)))
    bench.add(3, 120, 1, shared((1, 60), (2, 40), (4, 20)))
    bench.add(4, 30, 1, shared((5, 30)))
    bench.add(5, 70, 1, shared((7, 50), (9, 20)))
    assert bench.step().split("p:")[1].startswith(f"{first}*")


def test_request_that_would_repeat_an_earlier_one_steps_back() -> None:
    """Under lpm, of two waiting requests that share 40 unseen tokens the second goes last in the round."""
    bench = Bench(policy="lpm", tokens=2000, chunk=1000)
    bench.add(0, 50, 2, shared((1, 40), (2, 10)))
    bench.add(1, 50, 2, shared((1, 40), (3, 10)))
    bench.add(2, 20, 2, shared((4, 20)))
    assert bench.step() == "d: p:0*50 2*20 1*50"


def test_mixed_chunks_carry_the_decodes_and_budgets_count_them() -> None:
    """Of a budget of 8 a decode leaves 7 for the prompt of 12, two leave 6; only batches without prompts are quiet."""
    bench = Bench(chunk=8, enable_mixed_chunk=True)
    bench.add(0, 4, 5)
    assert bench.step() == "d: p:0*4"
    bench.add(1, 12, 3)
    assert bench.steps(2) == ["d:0 p:1*7", "d:0 p:1*5"]
    bench.add(2, 6, 2)
    assert bench.step() == "d:01 p:2*6"
    assert bench.scheduler.new_token_ratio == pytest.approx(0.7)
    assert bench.steps(2) == ["d:012 p:", ""]
    assert bench.scheduler.new_token_ratio == pytest.approx(0.7 - 0.7 * 0.86 / 600)
    assert bench.scheduler.kv_used_blocks == 0


@pytest.mark.parametrize(("prompt", "expected"), [(69, "d:0 p:"), (68, "d:0 p:1*68")])
def test_mixed_admission_also_reserves_the_next_decodes(prompt: int, expected: str) -> None:
    """As without mixing, less the token of the decode in the same batch: below 79.7 instead of 80.7."""
    bench = Bench(tokens=200, chunk=100, enable_mixed_chunk=True)
    bench.add(0, 50, 100)
    bench.step()
    bench.add(1, prompt, 10)
    assert bench.step() == expected


def test_mixed_prompt_waits_for_memory_that_decodes_take_first() -> None:
    """Chunks of 1 beside two decodes take 36 of 38 tokens in 12 steps; then the prompt waits, and one is retracted."""
    bench = Bench(tokens=60, chunk=3, enable_mixed_chunk=True, schedule_conservativeness=0.01)
    bench.add(0, 10, 40)
    assert bench.steps(4) == ["d: p:0*3"] * 3 + ["d: p:0*1"]
    retracted = bench.add(1, 8, 39)
    assert bench.steps(4) == ["d:0 p:1*2"] * 4
    bench.add(2, 20, 14)
    assert bench.steps(12) == ["d:01 p:2*1"] * 12
    assert bench.scheduler.memory.free_tokens == 2
    assert bench.step() == "d:01 p:"
    assert bench.step() == "d:0 p:"
    assert (retracted.preemptions, retracted.generated) == (1, 14)
    assert bench.scheduler.memory.free_tokens == 20
    assert bench.steps(5) == ["d:0 p:2*2"] * 4 + ["d:02 p:"]


def test_without_chunks_prompts_share_a_batch_up_to_its_prompt_tokens() -> None:
    """Of prompts of 90, 50 and 30 the first two exceed 120 prompt tokens together, the last two do not."""
    bench = Bench(enable_chunked_prefill=False, max_prefill_tokens=120, chunk=10)
    for index, prompt in enumerate((90, 50, 30)):
        bench.add(index, prompt, 1)
    assert bench.steps(3) == ["d: p:0*90", "d: p:1*50 2*30", ""]


TURN = st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(1, 30))


@settings(max_examples=100, deadline=None)
@given(
    turns=st.lists(TURN, min_size=1, max_size=16),
    tokens=st.integers(160, 320),
    chunk=st.sampled_from([16, 48, 400]),
    page=st.sampled_from([1, 4]),
    is_caching=st.booleans(),
    mode=st.sampled_from(["chunked", "mixed", "whole"]),
    policy=st.sampled_from(["fcfs", "lpm", "dfs_weight", "vtc"]),
)
def test_everything_finishes_and_nothing_leaks(
    turns: list, tokens: int, chunk: int, page: int, is_caching: bool, mode: str, policy: str
) -> None:
    """All requests yield all their tokens, and in the end every token of memory is free or could be evicted."""
    bench = Bench(
        tokens=tokens // page * page,
        chunk=chunk,
        page=page,
        enable_prefix_caching=is_caching,
        policy=policy,
        enable_chunked_prefill=mode != "whole",
        enable_mixed_chunk=mode == "mixed",
    )
    sequences = []
    for index, (session, prompt, output) in enumerate(turns):
        attributes = Attributes(segments=((session, 20), (100 + index, prompt)), output_segment=200 + index)
        sequences.append(bench.add(index, 20 + prompt, output, attributes))
        if index % 3 == 0:
            bench.step()
        bench.scheduler.memory.validate()
    for _ in range(4000):
        if not bench.step() and not bench.scheduler.retry_now:
            break
        bench.scheduler.memory.validate()
    assert all(sequence.generated == sequence.output_tokens for sequence in sequences)
    pool = bench.scheduler.memory
    assert pool.free_blocks == pool.total_blocks
    assert bench.scheduler.running_count == bench.scheduler.waiting_count == bench.scheduler.kv_used_blocks == 0
