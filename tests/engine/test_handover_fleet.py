"""Random small fleets whose prompts other replicas compute: reservations, grants, and transfers that the hub owns."""

from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from tests.engine.small_fleet import (
    draw_handover_fleet,
    draw_placement,
    run_apart,
    run_inline,
    run_with_restores,
    single_stepped,
)

RANDOMS = st.integers(0, 1 << 40).map(Random)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(RANDOMS)
def test_nothing_but_the_study_decides_a_result(random: Random) -> None:
    """Placement with random delays, single steps and snapshots change nothing, and drained replicas hold nothing."""
    small = draw_handover_fleet(random.randrange)
    try:
        evidence, run = run_inline(small)
    except InputError:
        assume(False)  # A combination that the engine does not have.
    replicas = small.replicas + small.prefill_replicas
    assert run_apart(small, draw_placement(replicas, random.randrange), random.randrange) == evidence
    assert run_inline(single_stepped(small))[0] == evidence
    assert run_with_restores(small, random.randrange) == evidence
    if small.end_ms is None:
        for replica in run.replicas:
            scheduler = replica._scheduler
            assert (scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks) == (0, 0, 0)
