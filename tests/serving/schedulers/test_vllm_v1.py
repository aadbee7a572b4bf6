"""vLLM v1, step by step: what every step holds, what it leaves of the blocks, and whom it preempts."""

import pytest

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

STEP_NS = 1_000_000_000


class Bench:
    """A scheduler driven by hand; every step takes 1 s and starts when the one before has ended."""

    def __init__(self, *, in_flight: int = 1, is_fast: bool = False, **settings: object) -> None:
        limits = {
            "kv_blocks": 100,
            "block_size": 4,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 16,
            "max_model_len": 1000,
            "pipeline_parallel": 1,
            "kv_groups": None,
        }
        engine: dict[str, object] = {"reserve_full_sequence": False, "enable_prefix_caching": False}
        for name, value in settings.items():
            (limits if name in limits else engine)[name] = value
        bounds = SchedulerLimits(
            **limits, batches_in_flight=in_flight, is_async=in_flight == 2, can_fast_forward=is_fast
        )
        self.scheduler: Scheduler = build_scheduler(engine_options(block_size=limits["block_size"], **engine), bounds)
        self.in_flight = in_flight
        self.flying: list[Batch] = []
        self.free_ns = 0
        self.now_ns = 0

    def add(self, request_id: int, prompt: int, output: int, attributes: Attributes = NO_ATTRIBUTES) -> Sequence:
        """Let a request arrive, ordered in time by its id."""
        sequence = Sequence(Request(request_id, request_id, prompt, output, attributes), 0, 0)
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> str:
        """Form a step and end the oldest in flight; return "decodes / prefill chunks / preempted / blocks used"."""
        batch = self.scheduler.schedule(self.now_ns)
        while batch is None and self.scheduler.retry_now:
            batch = self.scheduler.schedule(self.now_ns)
        if batch is not None:
            self.free_ns = max(self.free_ns, self.now_ns) + STEP_NS
            batch.end_ns = self.free_ns
            self.scheduler.on_scheduled(batch)
            self.flying.append(batch)
        used = self.scheduler.kv_used_blocks
        if self.flying and (len(self.flying) == self.in_flight or batch is None):
            oldest = self.flying.pop(0)
            self.now_ns = oldest.end_ns
            self.scheduler.complete(oldest)
        if batch is None:
            return "nothing"
        decodes = "".join(str(each.request_id) for each in batch.members) or "-"
        chunks = " ".join(f"{each.request_id}*{chunk}" for each, chunk in batch.prefilled) or "-"
        preempted = "".join(str(each.request_id) for each in batch.preempted) or "-"
        return f"{decodes} / {chunks} / {preempted} / {used}"

    def steps(self, count: int) -> list[str]:
        """Return what ``count`` steps were."""
        return [self.step() for _ in range(count)]


def test_budget_goes_to_running_sequences_first_and_prompts_are_chunked() -> None:
    """16 tokens a step: a prompt of 10 and 6 of the next one; then a decode and 15 of its 24, then 9 and 6 new."""
    bench = Bench()
    bench.add(0, 10, 4)
    bench.add(1, 30, 2)
    bench.add(2, 20, 2)
    assert bench.steps(6) == [
        "- / 0*10 1*6 / - / 5",
        "0 / 1*15 / - / 9",
        "0 / 1*9 2*6 / - / 13",
        "01 / 2*14 / - / 17",
        "2 / - / - / 6",
        "nothing",
    ]


def test_threshold_leaves_budget_to_others() -> None:
    """With at most 8 tokens of one prompt a step, two long prompts go on side by side."""
    bench = Bench(long_prefill_token_threshold=8)
    bench.add(0, 20, 1)
    bench.add(1, 20, 1)
    assert bench.steps(4) == ["- / 0*8 1*8 / - / 4", "- / 0*8 1*8 / - / 8", "- / 0*4 1*4 / - / 10", "nothing"]


def test_without_chunks_a_prompt_that_exceeds_the_rest_of_the_budget_stops_admission() -> None:
    """After 10 of 16 tokens neither the prompt of 8 nor, behind it, the one of 4 is admitted."""
    bench = Bench(enable_chunked_prefill=False)
    for request_id, prompt in enumerate((10, 8, 4)):
        bench.add(request_id, prompt, 1)
    assert bench.steps(3) == ["- / 0*10 / - / 3", "- / 1*8 2*4 / - / 3", "nothing"]


def test_prompts_begun_or_not_wait_for_a_prefill_step_beside_decodes() -> None:
    """8 tokens a step.  In steps that are none for prompts the 10 tokens left of one wait, as a new one of 3 does; the
    first step, in which nothing decodes, takes both prompts.  One that leaves a request waiting ends the deferring.
    """
    bench = Bench(max_num_batched_tokens=8, prefill_schedule_interval=2)
    bench.scheduler.is_prefill_step = False
    bench.add(0, 4, 9)
    bench.add(1, 14, 2)
    assert bench.steps(2) == ["- / 0*4 1*4 / - / 2", "0 / - / - / 3"]
    bench.add(2, 3, 1)
    assert bench.step() == "0 / - / - / 3"
    bench.scheduler.is_prefill_step = True
    assert bench.step() == "0 / 1*7 / - / 5"
    bench.scheduler.is_prefill_step = False
    assert bench.step() == "0 / 1*3 2*3 / - / 7"
    bench.add(3, 3, 1)
    assert bench.step() == "01 / - / - / 7"


def test_slots_limit_admission() -> None:
    """With two slots the third request starts in the step after one has ended."""
    bench = Bench(max_num_seqs=2)
    for request_id in range(3):
        bench.add(request_id, 4, 2)
    assert bench.steps(4) == ["- / 0*4 1*4 / - / 2", "01 / - / - / 4", "- / 2*4 / - / 1", "2 / - / - / 2"]


def test_preemption_takes_the_tail_and_recomputes_prompt_and_output() -> None:
    """Of 5 blocks two prompts of 8 take 4; the first decode takes the last, the second evicts its own sequence.

    The victim stands at the front of the queue with 9 known tokens and comes back when 3 blocks are free.
    """
    bench = Bench(kv_blocks=5)
    first = bench.add(0, 8, 6)
    second = bench.add(1, 8, 6)
    bench.add(2, 4, 1)
    assert bench.steps(2) == ["- / 0*8 1*8 / - / 4", "0 / - / 1 / 3"]
    assert (second.preemptions, second.known_tokens, second.computed) == (1, 9, 0)
    assert list(bench.scheduler.waiting_ids()) == [1, 2]
    assert bench.steps(4) == ["0 / - / - / 3"] * 3 + ["0 / - / - / 4"]
    assert first.generated == 6
    assert bench.steps(2) == ["- / 1*9 2*4 / - / 4", "1 / - / - / 3"]


def test_a_step_that_preempts_admits_nobody() -> None:
    """In the step of the eviction the freed blocks would fit the waiting request, but it waits one step."""
    bench = Bench(kv_blocks=6)
    bench.add(0, 8, 9)
    bench.add(1, 8, 9)
    assert bench.steps(5)[-1] == "01 / - / - / 6"
    bench.add(2, 4, 1)
    assert bench.step() == "0 / - / 1 / 4"
    assert list(bench.scheduler.waiting_ids()) == [1, 2]


def test_priority_preempts_the_least_urgent_and_admits_the_most_urgent() -> None:
    """The victim is the running request with the largest value, not the newest one."""
    bench = Bench(kv_blocks=5, policy="priority")
    bench.add(0, 8, 6, Attributes(priority=5))
    bench.add(1, 8, 6, Attributes(priority=1))
    assert bench.steps(2) == ["- / 1*8 0*8 / - / 4", "1 / - / 0 / 3"]


def test_victim_scheduled_in_the_same_step_gives_its_tokens_back() -> None:
    """The less urgent request decodes first, then the more urgent one needs its blocks: it leaves the batch again."""
    bench = Bench(kv_blocks=5, policy="priority")
    bench.add(0, 8, 6, Attributes(priority=5))
    assert bench.step() == "- / 0*8 / - / 2"
    bench.add(1, 8, 6, Attributes(priority=1))
    assert bench.steps(2) == ["0 / 1*8 / - / 5", "1 / - / 0 / 3"]


def test_prefix_hit_is_whole_blocks_and_never_the_whole_prompt() -> None:
    """The second prompt of 16 shares 12: it computes 4; the third is the first again: of 16, 12 are taken."""
    bench = Bench(enable_prefix_caching=True)
    bench.add(0, 16, 1, Attributes(segments=((1, 12), (2, 4))))
    assert bench.step() == "- / 0*16 / - / 4"
    second = bench.add(1, 16, 1, Attributes(segments=((1, 12), (3, 4))))
    third = bench.add(2, 16, 1, Attributes(segments=((1, 12), (2, 4))))
    assert bench.step() == "- / 1*4 2*4 / - / 5"
    assert (second.cached_tokens, third.cached_tokens) == (12, 12)


def test_watermark_and_full_reservation_gate_admission() -> None:
    """9 of 20 blocks are used: with a quarter kept free 6 more may be taken, so 24 tokens may and 25 may not start.

    Reserving the whole sequence counts all of a prompt, not just the chunk that the budget allows.
    """
    for prompt, expected in ((24, "0 / 1*24 / - / 15"), (25, "0 / - / - / 9")):
        bench = Bench(kv_blocks=20, max_num_batched_tokens=64, watermark_ratio=0.25)
        bench.add(0, 32, 9)
        bench.step()
        bench.add(1, prompt, 2)
        assert bench.step() == expected
    for is_reserved, expected in ((False, "0 / 1*15 / - / 7"), (True, "0 / - / - / 3")):
        bench = Bench(kv_blocks=10, reserve_full_sequence=is_reserved)
        bench.add(0, 8, 9)
        bench.step()
        bench.add(1, 40, 2)
        assert bench.step() == expected


def test_async_scheduling_plans_the_next_step_while_one_runs() -> None:
    """Step 2 is formed before step 1 has ended, so a decode follows at once; a request that arrives during step 1
    starts in step 3, and one that has ended keeps its slot and blocks for one more step.
    """
    bench = Bench(in_flight=2)
    bench.add(0, 8, 3)
    assert bench.step() == "- / 0*8 / - / 2"
    assert bench.step() == "0 / - / - / 3"
    bench.add(1, 4, 2)
    assert bench.step() == "0 / 1*4 / - / 4"
    assert bench.step() == "1 / - / - / 5"
    assert bench.step() == "nothing"


@pytest.mark.parametrize("is_fast", [False, True])
def test_decodes_in_bulk_use_the_same_blocks(is_fast: bool) -> None:
    """Five decodes of three sequences, formed one by one or in bulk, take the same blocks at the same steps."""
    bench = Bench(is_fast=is_fast, max_num_batched_tokens=64)
    for request_id in range(3):
        bench.add(request_id, 6 + request_id, 9)
    used = [bench.step().rpartition(" ")[2] for _ in range(6)]
    assert used == ["6", "7", "8", "9", "9", "10"]
