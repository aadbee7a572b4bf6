"""The schedulers that Vidur models, step by step on hand-worked queues."""

import pytest

from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from tests.serving.schedulers.bench import SchedulerBench, shown


class Bench(SchedulerBench):
    """A scheduler of 100 blocks of 4 tokens."""

    def __init__(self, kind: str, **settings: object) -> None:
        limits = {
            "kv_blocks": 100,
            "block_size": 4,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 64,
            "max_model_len": 32,
            "pipeline_parallel": 1,
            "batches_in_flight": 1,
            "is_async": False,
            "can_fast_forward": False,
        }
        engine = {"kind": kind, "watermark_ratio": 0.01}
        for name, value in settings.items():
            (limits if name in limits else engine)[name] = value
        super().__init__(build_scheduler(engine_options(**engine), SchedulerLimits(**limits)))


def test_vllm_v0_stops_decodes_for_prompts_and_counts_padding() -> None:
    """Prompts of 20, 10 and 20 tokens: three of them padded to 20 fit 64, a fourth of 16 would make 80."""
    bench = Bench("vllm_v0")
    for request_id, prompt in enumerate((20, 10, 20, 16)):
        bench.add(request_id, prompt, 3)
    assert bench.steps(2) == ["d: p:0*20 1*10 2*20", "d: p:3*16"]
    assert bench.steps(3) == ["d:0123 p:", "d:0123 p:", ""]
    assert bench.scheduler.kv_used_blocks == 0


def test_vllm_v0_watermark_keeps_admissions_but_not_decodes_out() -> None:
    """Of 10 blocks 2 are the watermark: a prompt of 8 blocks may start and decode on into the last two."""
    bench = Bench("vllm_v0", kv_blocks=10, watermark_ratio=0.2)
    bench.add(0, 33, 2)
    assert bench.step() == ""
    assert list(bench.scheduler.waiting_ids()) == [0]
    bench = Bench("vllm_v0", kv_blocks=10, watermark_ratio=0.2)
    bench.add(0, 32, 6)
    assert bench.step() == "d: p:0*32"
    assert bench.scheduler.kv_used_blocks == 8
    assert bench.step() == "d:0 p:"
    assert bench.scheduler.kv_used_blocks == 9


def test_vllm_v0_evicts_the_latest_arrival_which_recomputes_what_it_had() -> None:
    """Two sequences fill 4 blocks; the first decode evicts the second, which comes back with 8 + 1 known tokens."""
    bench = Bench("vllm_v0", kv_blocks=4, watermark_ratio=0.0)
    bench.add(0, 8, 3)
    second = bench.add(1, 8, 3)
    assert bench.step() == "d: p:0*8 1*8"
    assert bench.step() == "d:0 p:"
    assert (second.preemptions, second.known_tokens, second.computed) == (1, 9, 0)
    assert bench.steps(4) == ["d:0 p:", "d: p:1*9", "d:1 p:", ""]


def test_vllm_v0_swaps_a_victim_out_and_back_without_computing_it_again() -> None:
    """The victim's 2 blocks take 2 x 10 us each way; no prompt starts while it is away, and it decodes on at once."""
    bench = Bench(
        "vllm_v0", kv_blocks=4, watermark_ratio=0.0, preemption_mode="swap", swap_blocks=8, swap_block_us=10.0
    )
    bench.add(0, 8, 3)
    second = bench.add(1, 8, 3)
    assert bench.step() == "d: p:0*8 1*8"
    batch = bench.schedule()
    assert batch is not None
    assert (shown(batch), batch.delay_ns) == ("d:0 p:", 20_000)
    bench.scheduler.complete(batch)
    bench.add(2, 4, 2)
    assert (second.preemptions, second.computed, bench.scheduler.waiting_count) == (1, 8, 2)
    assert bench.step() == "d:0 p:"
    batch = bench.schedule()
    assert batch is not None
    assert (shown(batch), batch.delay_ns) == ("d:1 p:", 20_000)
    bench.scheduler.complete(batch)
    assert bench.steps(4) == ["d: p:2*4", "d:1 p:", "d:2 p:", ""]  # no block is free, so 2 goes out and comes back


def test_vllm_v0_recomputes_when_host_memory_is_full() -> None:
    """With room for one block, a victim of two is computed again."""
    bench = Bench("vllm_v0", kv_blocks=4, watermark_ratio=0.0, preemption_mode="swap", swap_blocks=1)
    bench.add(0, 8, 3)
    second = bench.add(1, 8, 3)
    bench.steps(2)
    assert (second.preemptions, second.computed) == (1, 0)


def test_vllm_v0_keeps_decodes_pooled_while_prompts_run() -> None:
    """Two decodes with 8 and 5 tokens to come make 2 steps; a prompt runs alone, and joins them with 3 to come.

    Where a single step is scheduled, it is the pool's: nobody is walked.
    """
    bench = Bench("vllm_v0", can_fast_forward=True)
    bench.add(0, 8, 9)
    bench.add(1, 8, 6)
    assert bench.step() == "d: p:0*8 1*8"
    scheduler = bench.scheduler
    (pool,) = scheduler.uniform_pools()
    assert scheduler.uniform_steps() == 5
    assert scheduler.commit_uniform(2, 100) == []
    bench.add(2, 8, 4)
    assert scheduler.uniform_steps() == 0
    assert bench.step() == "d: p:2*8"
    assert [sequence.request_id for sequence in pool.members.values()] == [0, 1]
    assert scheduler.uniform_steps() == 3
    assert [sequence.request_id for sequence in pool.members.values()] == [0, 1, 2]
    assert pool.kv_tokens == 10 + 10 + 8
    assert [sequence.request_id for sequence in pool.last_tokens.unsynchronised] == [2]
    assert [sequence.request_id for sequence in scheduler.commit_uniform(3, 200)] == [1, 2]
    batch = bench.schedule()
    assert (batch.shape.decodes, batch.shape.decode_kv_tokens, batch.members, batch.finishing) == (1, 13, [], [])
    assert (batch.gaps.pooled, batch.gaps.since_ns, pool.kv_tokens) == (1, 200, 14)


def test_sarathi_rides_chunks_on_decodes() -> None:
    """With a budget of 16, a prompt of 20 takes 16 and 4; the next one fills the rest, then 15 beside a decode."""
    bench = Bench("sarathi", max_num_batched_tokens=16)
    bench.add(0, 20, 4)
    bench.add(1, 30, 2)
    assert bench.steps(4) == ["d: p:0*16", "d: p:0*4 1*12", "d:0 p:1*15", "d:0 p:1*3"]
    assert bench.steps(2) == ["d:01 p:", ""]


@pytest.mark.parametrize(("is_compat", "state"), [(False, (24, 2, 0)), (True, (15, 11, 1))])
def test_restart_in_the_middle_of_a_prompt(is_compat: bool, state: tuple[int, int, int]) -> None:
    """A half-done prompt that is evicted starts over at once; Vidur's fault takes the done half for the prompt."""
    bench = Bench("sarathi", max_num_batched_tokens=16, kv_blocks=9, watermark_ratio=0.0, vidur_compat=is_compat)
    bench.add(0, 8, 9)
    bench.step()
    victim = bench.add(1, 24, 2)
    assert bench.step() == "d:0 p:1*15"  # 3 + 6 blocks: nothing is left
    assert bench.step() == "d:0 p:1*15"  # evicted for one block, admitted again with the six it gave up
    assert victim.preemptions == 1
    assert (victim.prompt_tokens, victim.output_tokens, victim.generated) == state


def test_orca_mixes_whole_prompts_with_decodes_and_reserves_the_longest() -> None:
    """Every sequence takes 32 / 4 = 8 blocks, so 20 blocks hold two; the third starts when the first is done."""
    bench = Bench("orca", kv_blocks=20)
    for request_id, output in enumerate((2, 4, 2)):
        bench.add(request_id, 10, output)
    assert bench.steps(3) == ["d: p:0*10 1*10", "d:01 p:", "d:1 p:2*10"]
    assert bench.scheduler.kv_used_blocks == 16
    assert bench.steps(2) == ["d:12 p:", ""]


@pytest.mark.parametrize(("is_compat", "left"), [(False, 0), (True, 8)])
def test_faster_transformer_runs_a_batch_to_its_end(is_compat: bool, left: int) -> None:
    """The early finisher keeps its 8 blocks until the batch is done; Vidur never gives them back."""
    bench = Bench("faster_transformer", max_num_seqs=2, vidur_compat=is_compat)
    for request_id, output in enumerate((1, 3, 1)):
        bench.add(request_id, 10, output)
    assert bench.steps(2) == ["d: p:0*10 1*10", "d:1 p:"]
    assert bench.scheduler.kv_used_blocks == 16
    assert bench.step() == "d:1 p:"
    assert bench.scheduler.kv_used_blocks == left
    assert bench.steps(2) == ["d: p:2*10", ""]


def test_lightllm_tries_prompts_after_its_waiting_iterations_and_knows_the_peak() -> None:
    """Two decodes pass before a prompt is tried; the third would make a peak of 40 of 40 tokens and waits twice more.

    At its first try sequence 0 has 15 tokens and 2 beyond the next, the newcomer 21 and 8: 2 * 2 + 15 + 21 = 40.
    """
    bench = Bench("lightllm", block_size=1, kv_blocks=40, max_waiting_iters=2)
    bench.add(0, 10, 8)
    assert bench.step() == "d: p:0*10"
    bench.add(1, 5, 2)
    bench.add(2, 20, 10)
    assert bench.steps(4) == ["d:0 p:", "d:0 p:", "d: p:1*5", "d:01 p:"]
    assert bench.steps(4) == ["d:0 p:", "d:0 p:", "d:0 p:", "d: p:2*20"]
    assert bench.step() == "d:02 p:"


def test_pipeline_gives_the_first_batch_every_ready_decode() -> None:
    """With two stages and sequences in flight, the second batch gets only what is not in the first."""
    bench = Bench("sarathi", pipeline_parallel=2, max_num_batched_tokens=16)
    bench.add(0, 8, 5)
    bench.add(1, 12, 5)
    first, second = bench.schedule(), bench.schedule()
    assert first is not None
    assert shown(first) == "d: p:0*8 1*8"
    assert second is None
    bench.scheduler.complete(first)
    first = bench.schedule()
    assert first is not None
    assert shown(first) == "d:0 p:1*4"


@pytest.mark.parametrize("kind", ["vllm_v0", "sarathi", "orca", "faster_transformer", "lightllm"])
def test_cancel_frees_memory_wherever_the_sequence_is(kind: str) -> None:
    """A waiting and a running sequence can be cancelled once, a batched one when its batch has ended, and nothing of
    them stays.
    """
    bench = Bench(kind, max_num_seqs=2, block_size=1 if kind == "lightllm" else 4)
    bench.add(0, 8, 5)
    bench.step()
    bench.add(1, 8, 5)
    assert bench.scheduler.cancel(1)
    assert not bench.scheduler.cancel(1)
    flying = bench.schedule()
    assert flying is not None
    assert not bench.scheduler.cancel(0)
    assert bench.scheduler.is_in_flight(0)
    bench.scheduler.complete(flying)
    assert not bench.scheduler.is_in_flight(0)
    assert bench.scheduler.cancel(0)
    assert bench.step() == ""
    assert (bench.scheduler.kv_used_blocks, bench.scheduler.running_count, bench.scheduler.waiting_count) == (0, 0, 0)
    bench.add(2, 8, 5)
    bench.step()
    assert bench.scheduler.cancel(2)
    assert bench.scheduler.kv_used_blocks == 0
    assert bench.scheduler.fewest_batches() == 0
