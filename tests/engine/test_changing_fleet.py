"""Fleets that change: replicas join, leave, crash and restart; a scaler reads its own grid; requests go on elsewhere.

Connections are reset at gated events, deliveries to the dead refused, and retried attempts resume with the tokens that
a crash left.
"""

from collections.abc import Callable
from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cluster_sim.recording.rows import ROW_FIELDS
from tests.engine.heap_fleet import HeapFleet
from tests.engine.in_memory import Choose
from tests.engine.sequential_fleet import ROW
from tests.engine.small_fleet import (
    SmallFleet,
    draw_changing_fleet,
    draw_fleet,
    draw_placement,
    draw_scaled_fleet,
    run_apart,
    run_inline,
    run_with_restores,
    single_stepped,
)

RANDOMS = st.integers(0, 1 << 40).map(Random)
SMALL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
COLUMNS = (*ROW, "retries")
INDICES = [ROW_FIELDS.index(name) for name in COLUMNS]


@SMALL
@given(RANDOMS, st.sampled_from([draw_changing_fleet, draw_changing_fleet, draw_scaled_fleet, draw_fleet]))
@example(Random(1249), draw_changing_fleet)  # An answer that would have come after the run's end is lost.
@example(Random(608), draw_changing_fleet)  # A replica leaves while its answers are on their way.
@example(Random(1201), draw_changing_fleet)  # A replica joins at time 0.
def test_rows_and_counters_equal_a_plain_heap(random: Random, draw: Callable[[Choose], SmallFleet]) -> None:
    """The same hub over plain servers and one heap has the same rows, and every replica the same counts."""
    small = draw(random.randrange)
    evidence, _ = run_inline(small)
    plain = HeapFleet(small)
    plain.execute()
    rows = sorted(tuple(row[index] for index in INDICES) for row in plain.run.rows)
    assert list(zip(*(evidence.column(name) for name in COLUMNS), strict=True)) == rows
    assert [
        (replica.iterations, replica.prompt_tokens, replica.generated_tokens, replica.preemptions, sum(replica.busy_ns))
        for replica in evidence.replicas
        if replica.joined_ns >= 0  # The run may end before the start of one arrives.
    ] == [server.counts_by(plain.end_ns) for _, server in sorted(plain.servers.items())]


@SMALL
@given(RANDOMS)
def test_placement_and_delays_change_nothing(random: Random) -> None:
    """Replicas in several groups behind frames in any order leave the same rows, counters and series as inline."""
    small = draw_changing_fleet(random.randrange)
    placement = draw_placement(small.replicas, random.randrange)
    assert run_apart(small, placement, random.randrange) == run_inline(small)[0]


@settings(SMALL, max_examples=30)
@given(RANDOMS)
def test_single_steps_and_snapshots_change_nothing(random: Random) -> None:
    """Macro-steps, and replicas replaced by their restored snapshots, leave what single steps leave."""
    small = draw_changing_fleet(random.randrange)
    evidence, _ = run_inline(small)
    assert run_inline(single_stepped(small))[0] == evidence
    assert run_with_restores(small, random.randrange) == evidence
