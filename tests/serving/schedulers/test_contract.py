"""Contract of every engine that is registered."""

from collections.abc import Iterator

import pytest

from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request
from tests.copied import copied
from tests.outside_package import CHECKOUT
from tests.serving.step_times import TokenClock

NAMES = ENGINES.names()
S = 1_000_000_000
REQUESTS = ((20, 6), (7, 1), (33, 9), (12, 4), (5, 12), (40, 2), (18, 7))
"""Prompt and output tokens; together they need 176 tokens of memory, and there are 120."""


def scheduler_of(name: str) -> Scheduler:
    """Return a scheduler of 120 tokens of memory and 4 slots that has been told of its predictor."""
    options = ENGINES.get(name).options()
    assert isinstance(options, EngineOptions)
    block = 1 if options.block_size == 1 else 4
    limits = SchedulerLimits(
        120 // block, block, 4, 64, 60, 1, 1, is_async=False, can_fast_forward=False, tokens_per_step=1
    )  # fmt: skip
    scheduler = build_scheduler(options.resolved(load_device("h100-sxm"), load_model("llama-3-8b")), limits)
    scheduler.use_predictor(TokenClock(1_000_000))
    return scheduler


def add_all(scheduler: Scheduler) -> list[Sequence]:
    """Let every request arrive at 0, and no more come."""
    sequences = [
        Sequence(Request(index, index, prompt, output), 0, 0) for index, (prompt, output) in enumerate(REQUESTS)
    ]
    for sequence in sequences:
        scheduler.add(sequence)
    scheduler.drain()
    return sequences


def batches(scheduler: Scheduler, start: int = 0) -> Iterator[Batch]:
    """Yield one batch after the other, each of 1 s from ``start`` seconds on, until nothing is left."""
    now_s = start
    while scheduler.has_work():
        batch = scheduler.schedule(now_s * S)
        if batch is None:
            assert scheduler.retry_now, "nothing can be scheduled, and nothing was freed"
            continue
        now_s += 1
        batch.end_ns = now_s * S
        scheduler.on_scheduled(batch)
        yield batch
        scheduler.complete(batch)


def state_of(scheduler: Scheduler) -> tuple[int, int]:
    return scheduler.running_count, scheduler.waiting_count


@pytest.mark.parametrize("name", NAMES)
def test_options_are_described_and_have_defaults(name: str) -> None:
    """An engine has a line for users and options that a study may leave out, each with a description."""
    entry = ENGINES.get(name)
    assert entry.summary.endswith(".")
    assert all(field.description for option, field in entry.options.model_fields.items() if option != "kind")
    assert entry.options().kind == name
    assert issubclass(entry.options, EngineOptions)
    assert entry.options.switches <= entry.options.model_fields.keys() - EngineOptions.model_fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_engines_lists_every_engine(name: str) -> None:
    """The table in the documentation has each engine with its own line."""
    page = (CHECKOUT / "docs" / "engines.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {ENGINES.get(name).summary} |" in page


@pytest.mark.parametrize("name", NAMES)
def test_every_request_gets_its_tokens_and_leaves_nothing(name: str) -> None:
    """Each request finishes once, with all its tokens, and slots and queue are empty afterwards."""
    scheduler = scheduler_of(name)
    sequences = add_all(scheduler)
    assert state_of(scheduler) == (0, len(REQUESTS))
    assert len(list(scheduler.waiting_ids())) == len(REQUESTS)
    finished = [sequence.request_id for batch in batches(scheduler) for sequence in batch.finishing]
    assert sorted(finished) == list(range(len(REQUESTS)))
    assert all(sequence.generated >= sequence.output_tokens for sequence in sequences)
    assert state_of(scheduler) == (0, 0)
    assert scheduler.fewest_batches() == 0


@pytest.mark.parametrize("name", NAMES)
def test_no_request_finishes_before_the_bound(name: str) -> None:
    """``fewest_batches`` never exceeds the batches that really come up to the next one that finishes a request."""
    scheduler = scheduler_of(name)
    add_all(scheduler)
    bounds = [scheduler.fewest_batches()]
    finishing = []
    for batch in batches(scheduler):
        finishing.append(bool(batch.finishing))
        bounds.append(scheduler.fewest_batches())
    for index, bound in enumerate(bounds[:-1]):
        assert bound <= 1 + finishing[index:].index(True)


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_goes_on_alike(name: str) -> None:
    """A scheduler restored between two batches forms the batches of one that was not."""
    scheduler = scheduler_of(name)
    add_all(scheduler)
    running = batches(scheduler)
    for _ in range(3):
        next(running)
    scheduler.complete(next(running))
    running.close()
    restored = copied(scheduler)
    shapes = [[batch.shape for batch in batches(each, start=4)] for each in (scheduler, restored)]
    assert shapes[0] == shapes[1]
    assert shapes[0]


@pytest.mark.parametrize("name", NAMES)
def test_requests_can_be_cancelled(name: str) -> None:
    """Whoever waits or runs can be cancelled between two batches; the others finish, and nothing is left."""
    scheduler = scheduler_of(name)
    add_all(scheduler)
    scheduler.complete(next(batches(scheduler)))
    gone = [request_id for request_id in (2, 6) if scheduler.cancel(request_id)]
    assert gone == [2, 6]
    assert not scheduler.remove_waiting(99)
    finished = [sequence.request_id for batch in batches(scheduler, start=1) for sequence in batch.finishing]
    assert not set(gone) & set(finished)
    assert state_of(scheduler) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_uniform_steps_hold_every_decode(name: str) -> None:
    """Whoever offers uniform steps can make all of them at once, and its pool then holds what ran."""
    entry = ENGINES.get(name)
    options = entry.options()
    assert isinstance(options, EngineOptions)
    block = 1 if options.block_size == 1 else 4
    limits = SchedulerLimits(120 // block, block, 4, 64, 60, 1, 1, is_async=False, can_fast_forward=True)
    scheduler = build_scheduler(options.resolved(load_device("h100-sxm"), load_model("llama-3-8b")), limits)
    if not isinstance(scheduler, FastForwardScheduler):
        pytest.skip(f"{name} is stepped batch by batch")
    scheduler.use_predictor(TokenClock(1_000_000))
    scheduler.add(Sequence(Request(0, 0, 20, 9), 0, 0))
    scheduler.drain()
    batch = scheduler.schedule(0)
    assert batch is not None
    batch.end_ns = S
    scheduler.on_scheduled(batch)
    scheduler.complete(batch)
    steps = scheduler.uniform_steps()
    assert 1 <= steps <= 8
    assert [len(pool) for pool in scheduler.uniform_pools()] == [1]
    finishing = scheduler.commit_uniform(steps, (1 + steps) * S)
    assert bool(finishing) == (steps == 8)
