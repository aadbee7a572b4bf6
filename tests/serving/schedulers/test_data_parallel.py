"""Data-parallel ranks step together: by hand, and whatever the placement."""

from dataclasses import dataclass, fields
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cluster_sim.config.schema.study import Study
from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.serving.fast_forward.data_parallel_decode import DataParallelDecode
from cluster_sim.serving.messages import Dispatch
from cluster_sim.simulation.plan import make_plan
from cluster_sim.workload.request import Request
from tests.engine.small_fleet import (
    Choose,
    SmallFleet,
    draw_fleet,
    draw_placement,
    prepare,
    run_apart,
    run_inline,
    run_with_restores,
    single_stepped,
)

MS = 1_000_000
SMALL = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RANDOMS = st.integers(0, 1 << 40).map(Random)
ENGINE = ("prefill_schedule_interval", "max_num_batched_tokens", "block_size")
BY_TOKEN = {"kind": "linear", "alpha_us": 1000.0, "beta_us": 100.0}
"""1 ms a step and 0.1 ms a token."""


@dataclass(frozen=True)
class RankedFleet(SmallFleet):
    """A small study whose replicas have ranks."""

    ranks: tuple[tuple[str, Any], ...] = ()

    def study(self) -> Study:
        """Return the study with other pool settings."""
        study = super().study()
        pool = study.fleet.pools[0].model_copy(update={"model": "mixtral-8x7b", **dict(self.ranks)})
        return study.model_copy(update={"fleet": study.fleet.model_copy(update={"pools": (pool,)})})


def draw_ranked(choose: Choose) -> RankedFleet:
    """Return a random small study with one to three ranks a replica."""
    small = draw_fleet(choose)
    engine = dict(small.engine)
    if not choose(3):
        engine |= {"kind": "sglang", "policy": "fcfs", "async_scheduling": False, "enable_chunked_prefill": True}
    else:
        engine["enable_prefix_caching"] = bool(choose(2))
        engine["host_blocks"] = (0, 3, 100)[choose(3)] if engine["enable_prefix_caching"] else 0
    ranks = 1 + choose(3)
    if ranks > 1 and engine.get("kind") != "sglang":
        engine["prefill_schedule_interval"] = (1, 1, 2, 5)[choose(4)]
    values = {each.name: getattr(small, each.name) for each in fields(SmallFleet)}
    return RankedFleet(**values | {"engine": engine}, ranks=(("data_parallel", ranks), ("expert_parallel", 1)))


def finishes(engine: dict[str, Any], arrivals: tuple[tuple[float, int, int], ...]) -> list[float]:
    """Return when the requests of one replica of two ranks finish, ms, by number."""
    small = RankedFleet(
        arrivals, engine=engine | {"async_scheduling": False}, predictor=BY_TOKEN, ranks=(("data_parallel", 2),)
    )
    evidence, _ = run_inline(small)
    by_id = dict(zip(evidence.column("request_id"), evidence.column("finish_ns"), strict=True))
    return [by_id[number] / MS for number in range(len(arrivals))]


def test_a_step_lasts_as_long_as_the_slowest_rank() -> None:
    """Prompts of 10 and 5 on one rank, of 4 on the other: 1 + 1.5 ms for all; then decodes of 1.1 ms side by side."""
    assert finishes({}, ((0, 10, 2), (0, 4, 3), (0, 5, 1))) == [3.6, 4.7, 2.5]


def test_ranks_have_their_own_slots_and_blocks() -> None:
    """With one slot a rank two requests run at once; the third waits for its own rank, though another is free."""
    assert finishes({"max_num_seqs": 1}, ((0, 10, 2), (0, 10, 1), (0, 10, 1))) == [3.1, 2.0, 5.1]


@pytest.mark.parametrize(("interval", "expected"), [(1, [7.9, 7.9, 3.5]), (3, [7.9, 7.9, 5.7])])
def test_prompts_start_in_every_third_step(interval: int, expected: list[float]) -> None:
    """A request that comes during the first step to a rank that decodes then waits for the fourth."""
    arrivals = ((0, 10, 6), (0, 10, 6), (0.5, 4, 1))
    assert finishes({"prefill_schedule_interval": interval}, arrivals) == expected


def test_a_rank_that_decodes_nothing_does_not_wait() -> None:
    """The other rank has nothing to do when the second request comes during the first step: it starts in the second."""
    assert finishes({"prefill_schedule_interval": 3}, ((0, 10, 6), (0.5, 4, 1))) == [7.8, 3.4]


def test_steps_are_counted_from_the_last_idle_time() -> None:
    """Two steps, then nobody is here; what comes at 9.5 ms waits for the fourth step since 9 ms, not since 0 ms."""
    arrivals = ((0, 1, 2), (9, 10, 6), (9, 10, 6), (9.5, 4, 1))
    assert finishes({"prefill_schedule_interval": 3}, arrivals) == [2.2, 16.9, 16.9, 14.7]


def test_joint_decodes_are_planned_together() -> None:
    """Prompts of 10 tokens up to 2 ms, then steps of 1.1 ms in both ranks: all 4 up to the first end are one run, and
    the conditional EOT is its end.  The third request joins a rank at 2.5 ms and ends that.
    """
    small = RankedFleet(
        policy="least_outstanding",
        engine={"async_scheduling": False},
        predictor=BY_TOKEN,
        ranks=(("data_parallel", 2),),
    )
    replica = prepare(small).replicas[0]
    for number, (at_ms, output) in enumerate(((0, 5), (0, 9), (2.5, 2))):
        at = round(at_ms * MS)
        replica.advance(instant(at, Kind.CANCELLATION))
        if number == 2:
            run = replica._planner.plan()
            assert isinstance(run, DataParallelDecode)
            assert (run.steps, run.is_finishing) == (4, True)
            assert replica.output_times().conditional == instant(round(6.4 * MS), Kind.RESPONSE)
        request = Request(number, at, 10, output)
        replica.receive(Message(instant(at, Kind.DELIVERY), HUB_SOURCE, number, Dispatch(request, 0)))
    ends = [message.instant for message in replica.advance(NEVER)]
    # A step of 1.1 ms, one with the third prompt beside a decode (1 + 1.1), then 1.2 with two decodes, then 1.1 again.
    assert ends == [instant(round(each * MS), Kind.RESPONSE) for each in (6.4, 7.5, 11.9)]


@SMALL
@given(RANDOMS)
@example(Random(256411))  # sglang in a pipeline, where the memory of batches in flight leaves room for no decode at all
def test_placement_and_delays_change_nothing(random: Random) -> None:
    """Replicas in several groups behind frames in any order leave what one group called directly leaves."""
    small = draw_ranked(random.randrange)
    placement = draw_placement(small.replicas, random.randrange)
    try:
        make_plan(small.study())
    except InputError:
        return
    evidence, run = run_inline(small)
    assert run_apart(small, placement, random.randrange) == evidence
    assert run_with_restores(small, random.randrange) == evidence
    assert run_inline(single_stepped(small))[0] == evidence
    if small.end_ms is None:
        for replica in run.replicas:
            replica.advance(NEVER)
            scheduler = replica._scheduler
            assert (scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks) == (0, 0, 0)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"model": "llama-3-8b", "data_parallel": 2}, "has no experts to share.*set replicas: 2"),
        ({"data_parallel": 2, "kind": "sarathi"}, "sarathi has no ranks; engines that have: sglang, vllm_v1"),
        ({"data_parallel": 2, "expert_parallel": 3}, r"expert_parallel: 3: .*set 2, or 1"),
        ({"model": "llama-3-8b", "tensor_parallel": 2, "expert_parallel": 2}, "llama-3-8b has no experts"),
        ({"tensor_parallel": 16, "expert_parallel": 16}, "does not divide the 8 experts"),
        ({"expert_imbalance_ratio": 1.5}, "slices of experts are always in balance"),
        ({"tensor_parallel": 2, "expert_parallel": 2, "expert_imbalance_ratio": 3.0}, "at most 2 times the mean"),
        ({"kind": "sglang", "max_num_batched_tokens": 8, "block_size": 16}, "chunks in whole pages, and 8 tokens"),
        ({"prefill_schedule_interval": 2}, "aligns data-parallel ranks; leave it at 1"),
    ],
)
def test_impossible_combinations_are_refused(pool: dict[str, Any], message: str) -> None:
    """The message names the pool, the value, the reason and what would be right."""
    inside = {name: pool.pop(name) for name in ("kind", *ENGINE) if name in pool}
    study = RankedFleet(engine=inside, ranks=tuple(pool.items())).study()
    with pytest.raises(InputError, match=message):
        make_plan(study)
