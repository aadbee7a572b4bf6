"""Random small serving studies: nothing but the study decides a result.

Each test draws fleets of 1 to 5 replicas with links of 0 to 7 ms, ties in time, tiny KV caches, one-token outputs,
pipelines, two batches in flight, every policy, telemetry down to period 0, closed loops, time-outs and fixed ends.
Wherever a message precedes its bound, the coordinator and the replicas raise AssertionError.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER
from cluster_sim.errors import InputError
from cluster_sim.recording.statuses import STATUSES
from tests.engine.small_fleet import (
    SmallFleet,
    draw_fleet,
    draw_placement,
    draw_varied_fleet,
    run_apart,
    run_inline,
    run_with_restores,
    single_stepped,
)

RANDOMS = st.integers(0, 1 << 40).map(Random)
SMALL = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FINISHED, CANCELLED, UNFINISHED = (STATUSES.index(status) for status in ("finished", "cancelled", "unfinished"))


@SMALL
@given(RANDOMS)
def test_placement_and_delays_change_nothing(random: Random) -> None:
    """Replicas in several groups behind frames in any order leave the same rows, counters and series as inline."""
    small = draw_fleet(random.randrange)
    placement = draw_placement(small.replicas, random.randrange)
    assert run_apart(small, placement, random.randrange) == run_inline(small)[0]


@SMALL
@given(RANDOMS)
def test_macro_steps_change_nothing(random: Random) -> None:
    """Decode iterations taken together leave what single steps leave."""
    small = draw_fleet(random.randrange)
    assert run_inline(small)[0] == run_inline(single_stepped(small))[0]


@SMALL
@given(RANDOMS)
def test_snapshots_change_nothing(random: Random) -> None:
    """A replica replaced by its restored snapshot at random window edges goes on as if nothing had happened."""
    small = draw_fleet(random.randrange)
    assert run_with_restores(small, random.randrange) == run_inline(small)[0]


@SMALL
@given(RANDOMS)
def test_conservation(random: Random) -> None:
    """Every request ends exactly once, every token is computed where it is counted, and drained replicas are empty."""
    small = draw_fleet(random.randrange)
    evidence, run = run_inline(small)
    ids = evidence.column("request_id")
    assert len(set(ids)) == len(ids) == run.hub.arrived
    statuses = set(evidence.column("status"))
    assert statuses <= {FINISHED, CANCELLED, UNFINISHED}
    assert sum(replica.entered for replica in evidence.replicas) <= len(ids)
    if small.end_ms is not None:
        return
    for replica in run.replicas:
        replica.advance(NEVER)
        scheduler = replica._scheduler
        assert (scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks) == (0, 0, 0)
    assert UNFINISHED not in statuses
    assert (
        sum(replica.entered for replica in evidence.replicas)
        == sum(replica.left for replica in evidence.replicas)
        == len(ids)
    )
    areas = sum(replica.in_system_area_ns - replica.cancellation_lag_ns for replica in evidence.replicas)
    links = round((small.forward_ms + small.return_ms) * 1e6)
    columns = (evidence.column(name) for name in ("status", "dispatch_ns", "finish_ns"))
    assert areas == sum(
        finish - dispatch - (0 if status == CANCELLED else links)
        for status, dispatch, finish in zip(*columns, strict=True)
    )
    if CANCELLED in statuses:
        return
    outputs = sum(evidence.column("output_tokens"))
    assert sum(replica.generated_tokens for replica in evidence.replicas) == outputs
    prompts = sum(evidence.column("prompt_tokens"))
    computed = sum(replica.prompt_tokens for replica in evidence.replicas)
    assert computed == prompts if not any(evidence.column("preemptions")) else computed >= prompts


@pytest.mark.parametrize(
    "small",
    [
        # A response observed between a telemetry sample and the time at which it becomes visible.
        SmallFleet(
            arrivals=((1.11, 27, 1), (1.85, 14, 1), (4.81, 21, 1), (9.25, 32, 19)),
            stages=2,
            policy="least_loaded",
            period_ms=0.5,
            latency_ms=0.25,
            return_ms=7.0,
            timeout_ms=33.0,
        ),
        # A time-out between arrivals under perfect instantaneous telemetry.
        SmallFleet(
            arrivals=((0, 5, 1), (0, 3, 1), (0, 29, 8)), policy="least_loaded", period_ms=0, latency_ms=0, timeout_ms=9
        ),
        # A probe's ceiling below the response that a replica promises for the same time.
        SmallFleet(
            users=1,
            stages=4,
            predictor={"kind": "linear", "alpha_us": 0.002, "beta_us": 7.3, "gamma_us": 0.37},
            policy="least_loaded",
            period_ms=0,
            latency_ms=0,
        ),
        # A cancelled request that outlives every row.
        SmallFleet(
            users=6, replicas=4, policy="least_loaded", period_ms=5, forward_ms=0.5, timeout_ms=15.0, interval_ms=1.0
        ),
    ],
)
def test_cases_that_once_broke(small: SmallFleet) -> None:
    """Studies on which an earlier protocol got stuck or left different results."""
    evidence, _ = run_inline(small)
    apart = [[replica] for replica in range(small.replicas)]
    assert run_apart(small, apart, Random(3).randrange) == evidence
    assert run_inline(single_stepped(small))[0] == evidence


@settings(SMALL, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(RANDOMS)
def test_every_engine_is_equal_too(random: Random) -> None:
    """Every engine kind, order of the queue, prefix cache, drafts, adapters and jitter: placement, macro-steps and
    snapshots change nothing.
    """
    small = draw_varied_fleet(random.randrange)
    try:
        evidence, _ = run_inline(small)
    except InputError:
        assume(False)  # A combination that the engine does not have.
    assert run_inline(single_stepped(small))[0] == evidence
    assert run_apart(small, draw_placement(small.replicas, random.randrange), random.randrange) == evidence
    assert run_with_restores(small, random.randrange) == evidence
