"""Faults, joining and leaving in every engine: nothing depends on horizons, fast-forwarding or snapshots."""

from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.serving.messages import Departure, Dispatch, Response
from tests.serving.lives.driven import draw_drive, draw_horizons, drive

RANDOMS = st.integers(0, 1 << 40).map(Random)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(random=RANDOMS)
def test_neither_horizons_nor_fast_forwarding_change_a_life(random: Random) -> None:
    """One long advance, single steps, short horizons and restored snapshots leave the same messages and figures."""
    study = draw_drive(random.randrange)
    assume(study is not None)
    assert study is not None
    expected = drive(study, macro_steps=True)
    assert drive(study, macro_steps=False) == expected
    for macro_steps in (True, False):
        horizons = draw_horizons(random.randrange, study)
        assert drive(study, macro_steps=macro_steps, horizons=horizons) == expected
        assert drive(study, macro_steps=macro_steps, horizons=horizons, restores=random.randrange) == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(random=RANDOMS)
def test_every_attempt_ends(random: Random) -> None:
    """An attempt is answered or leaves a departure, nothing stays, and no departure tells of more tokens than the
    answer has.
    """
    study = draw_drive(random.randrange)
    assume(
        study is not None and study.end_ns >= 10_000_000_000 and study.small.engine.get("kind") != "static_two_phase"
    )
    assert study is not None
    result = drive(study, macro_steps=True)
    sent = {
        (message.payload.request.request_id, message.payload.attempt): message.payload
        for message in study.messages
        if isinstance(message.payload, Dispatch)
    }
    ended = set()
    for message in result["messages"]:
        payload = message.payload
        if isinstance(payload, Response | Departure):
            ended.add((payload.request_id, payload.attempt))
        if isinstance(payload, Departure):
            dispatch = sent[payload.request_id, payload.attempt]
            assert dispatch.resumed_tokens <= payload.generated_tokens <= dispatch.request.output_tokens
    assert ended == set(sent)
    counters = result["counters"]
    assert counters.entered == counters.left == len(sent)
    assert result["state"] == (0, 0, 0.0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(random=RANDOMS)
def test_stages_come_to_the_same_times(random: Random) -> None:
    """Servers of the stages, which know of no fault, come to the work of each stage from the stream of batches alone;
    a batch that a crash cuts off ends there with the crash.
    """
    study = draw_drive(random.randrange)
    assume(study is not None)
    assert study is not None
    replica = study.build(macro_steps=False, is_streamed=True)
    for message in study.messages:
        replica.receive(message)
    end = instant(study.end_ns, Kind.RUN_END)
    replica.advance(end)
    replica.finish(end)
    stages = replica.pipeline.stages
    stream = replica.pipeline.take_stream().tolist()
    free_ns, busy_ns = [0] * stages, [0] * stages
    for first in range(0, len(stream), 2 + 2 * stages):
        arrival_ns, *costs_ns, end_ns = stream[first : first + 2 + 2 * stages]
        for stage in range(stages):
            free_ns[stage] = max(arrival_ns, free_ns[stage]) + costs_ns[2 * stage]
            busy_ns[stage] += costs_ns[2 * stage]
            arrival_ns = free_ns[stage] + costs_ns[2 * stage + 1]
        assert free_ns[-1] == end_ns
    assert busy_ns == [busy + over for busy, over in zip(replica.log.busy_ns, replica.log.overrun_ns, strict=True)]
