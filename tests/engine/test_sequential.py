"""The simulator against an independent sequential program of the same rules."""

from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.engine.sequential_fleet import ROW, SequentialFleet
from tests.engine.small_fleet import draw_fleet, run_inline


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 40).map(Random))
@example(Random(5106))  # The run ends while a cancellation waits for a batch that began after its request had ended.
@example(Random(627))  # A step preempts all it could do at the instant at which a request arrives.
def test_rows_and_counters_equal_a_plain_heap(random: Random) -> None:
    """Token by token over one heap of events, every request has the same times and every replica the same counts."""
    small = draw_fleet(random.randrange)
    evidence, _ = run_inline(small)
    plain = SequentialFleet(small)
    plain.run()
    assert list(zip(*(evidence.column(name) for name in ROW), strict=True)) == sorted(plain.rows)
    ours = [
        (replica.iterations, replica.prompt_tokens, replica.generated_tokens, replica.preemptions, sum(replica.busy_ns))
        for replica in evidence.replicas
    ]
    assert ours == [server.counts_by(plain.end_ns) for server in plain.servers]
    if small.end_ms is None:
        assert [replica.in_system_area_ns for replica in evidence.replicas] == [
            server.stay_ns for server in plain.servers
        ]
