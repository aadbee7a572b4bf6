"""Space-time sharing: two long prompts never share a step, whichever engine computes it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.ordering import Ordering
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, engine_options
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request
from tests.serving.step_times import TokenClock

KINDS = ENGINES.names()
LONG = 20
S = 1_000_000_000


class Bench:
    """One scheduler under ``st``, driven batch by batch, each taking 1 s."""

    def __init__(self, kind: str, budget: int = 1000, seqs: int = 8, target_step_s: float = 1.0) -> None:
        block = 1 if kind in {"lightllm", "sglang"} else 4
        limits = SchedulerLimits(
            4000 // block, block, seqs, budget, 400, 1, 1, is_async=False, can_fast_forward=False
        )  # fmt: skip
        ordering = Ordering(long_prompt_tokens=LONG, target_step_s=target_step_s)
        engine = engine_options(kind=kind, policy="st", ordering=ordering, block_size=block, batch_timeout_s=0.0)
        self.scheduler = build_scheduler(engine, limits)
        self.scheduler.use_predictor(TokenClock(1_000_000))
        self.now_ns = 0

    def add(self, request_id: int, prompt: int, output: int) -> Sequence:
        sequence = Sequence(Request(request_id, request_id, prompt, output), 0, 0)
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> Batch | None:
        batch = self.scheduler.schedule(self.now_ns)
        if batch is not None:
            self.now_ns += S
            batch.end_ns = self.now_ns
            self.scheduler.on_scheduled(batch)
            self.scheduler.complete(batch)
        return batch

    def chunks(self) -> dict[int, int]:
        """Form and end a batch; return the prompt tokens of each request in it."""
        batch = self.step()
        return {} if batch is None else {each.request_id: chunk for each, chunk in batch.prefilled}


def long_chunks(batch: Batch) -> int:
    """Return how many chunks of a batch end deep in their prompts."""
    return sum(cached + chunk > LONG for chunk, cached in batch.shape.prefills)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_prompt_joins_a_long_one_but_another_long_one_waits(kind: str) -> None:
    """Of prompts of 60, 50 and 10 that all fit a step the first and the last start, the second in a later step.

    The least slack has the longest: all spans are 0.5 s.  A static batch starts the second when the first is done.
    """
    bench = Bench(kind)
    for index, prompt in enumerate((60, 50, 10)):
        bench.add(index, prompt, 2)
    assert bench.chunks() == {0: 60, 2: 10}
    later = [bench.chunks() for _ in range(12)]
    assert [each for each in later if each] == [{1: 50}]
    assert bench.scheduler.running_count == bench.scheduler.waiting_count == 0


@pytest.mark.parametrize("kind", ["sarathi", "tensorrt_llm", "vllm_v1"])
def test_long_chunks_take_turns(kind: str) -> None:
    """With a budget of 40, the second prompt of 60 starts beside the last 20 of the first, up to its own 20th token.

    A third one, which would reach its 24th beside the rest of the second, waits although 20 tokens of budget are left.
    """
    bench = Bench(kind, budget=40)
    for index in range(3):
        bench.add(index, 60, 1)
    steps = []
    while chunks := bench.chunks():
        steps.append(chunks)
    assert steps == [{0: 40}, {0: 20, 1: 20}, {1: 40}, {2: 40}, {2: 20}]


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=12),
    budget=st.sampled_from([61, 100, 1000]),
    target_step_s=st.sampled_from([0.005, 0.03, 1.0]),
)
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_holds_two_long_chunks(kind: str, prompts: list, budget: int, target_step_s: float) -> None:
    """Whatever arrives, every request is served and no batch holds two chunks that end beyond 20 tokens."""
    bench = Bench(kind, budget, 6, target_step_s)
    sequences = []
    for index, (prompt, output, steps) in enumerate(prompts):
        sequences.append(bench.add(index, prompt, output))
        for _ in range(steps):
            batch = bench.step()
            assert batch is None or long_chunks(batch) <= 1
    for _ in range(2000):
        batch = bench.step()
        if batch is None:
            break
        assert long_chunks(batch) <= 1
    assert all(sequence.generated == sequence.output_tokens for sequence in sequences)
