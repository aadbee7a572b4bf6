import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.serving.handover.messages import Granted, KvReady, PrefillLeg, PrefillProgress, Release, Reservation
from cluster_sim.serving.messages import Cancellation, Dispatch, Response
from cluster_sim.workload.request import Attributes
from tests.serving.handover.small_replica import answers, replica, request, send


def test_a_computed_prompt_keeps_its_blocks_until_they_are_released() -> None:
    """40 tokens take 50 us; their 10 blocks hold a prompt of 55 blocks back until the release at 100 us."""
    prefill = replica()
    send(prefill, 0, 1, PrefillLeg(request(1, 40, 9), 0))
    assert answers(prefill, 60_000) == [(50_500, PrefillProgress(1, 0, 40, 50_000, True, 0, 0, 0))]
    assert prefill.counters()[:2] == (0, 0)
    assert prefill.counters()[2] == 10
    send(prefill, 60_000, 2, PrefillLeg(request(2, 220, 9), 0))
    send(prefill, 100_000, 1, Release(1, 0), Kind.KV_READY)
    assert answers(prefill) == [(330_500, PrefillProgress(2, 0, 220, 230_000, True, 100_000, 0, 0))]


def test_blocks_come_first_then_the_cache_then_one_token_is_computed() -> None:
    """The whole prompt's 20 blocks are free when the running request ends at 250.448 us; what arrives at 300 us needs
    one step for the last token of the prompt, which makes the first of the answer, and two more.
    """
    decode = replica()
    send(decode, 0, 1, Dispatch(request(1, 200, 5), 0))
    send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
    assert answers(decode, 260_000) == [
        (250_948, Response(1, 0, "finished", 0, 210_500, 250_948, 0, 0)),
        (250_948, Granted(2, 1, 250_448, 0)),
    ]
    assert decode.counters()[:3] == (0, 1, 20)
    send(decode, 300_000, 2, KvReady(2, 1, 79, 0), Kind.KV_READY)
    assert answers(decode) == [(331_710, Response(2, 1, "finished", 300_000, 311_500, 331_710, 0, 0))]
    assert decode.counters()[2] == 0


def test_posting_of_reads_holds_up_a_step_of_early_versions() -> None:
    """Before 0.14 the step in which a prompt's blocks are granted takes 15 ms longer for the request that decodes."""
    finished = []
    for version in ("0.13", "0.14"):
        decode = replica(engine={"version": version, "async_scheduling": False})
        send(decode, 0, 1, Dispatch(request(1, 40, 5), 0))
        send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
        found = answers(decode)
        assert Granted in {type(payload) for _, payload in found}
        finished += [time_ns for time_ns, payload in found if isinstance(payload, Response)]
    assert finished[0] - finished[1] == 15_000_000


def test_the_queue_behind_a_reservation_without_blocks_waits() -> None:
    """Head of line: a short prompt that would fit is not computed before the reservation has got its blocks."""
    decode = replica()
    send(decode, 0, 1, Dispatch(request(1, 200, 5), 0))
    send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
    send(decode, 20_000, 3, Dispatch(request(3, 4, 1), 0))
    found = answers(decode)
    assert [type(payload) for _, payload in found] == [Response, Granted, Response]
    assert found[2][1].scheduled_ns == 250_448


def test_what_the_decode_side_has_cached_is_not_asked_for() -> None:
    """Of a prompt of 42 tokens 32 are those of an earlier request: the grant names them."""
    decode = replica(engine={"enable_prefix_caching": True})
    send(decode, 0, 1, Dispatch(request(1, 40, 1, Attributes(segments=((1, 32), (2, 8)))), 0))
    send(decode, 90_000, 2, Reservation(request(2, 42, 2, Attributes(segments=((1, 32), (3, 10)))), 1))
    assert answers(decode, 95_000)[-1] == (90_500, Granted(2, 1, 90_000, 32))


def test_nobody_finds_blocks_that_are_not_filled() -> None:
    """A second reservation of the same prompt gets nothing from the first one's blocks until these have arrived."""
    decode = replica(engine={"enable_prefix_caching": True})
    shared = Attributes(segments=((1, 40),))
    send(decode, 0, 1, Reservation(request(1, 40, 2, shared), 1))
    send(decode, 10, 2, Reservation(request(2, 40, 2, shared), 1))
    send(decode, 20, 1, KvReady(1, 1, 39, 0), Kind.KV_READY)
    send(decode, 30, 3, Reservation(request(3, 40, 2, shared), 1))
    granted = [payload for _, payload in answers(decode) if isinstance(payload, Granted)]
    assert [(grant.request_id, grant.cached_tokens) for grant in granted] == [(1, 0), (2, 0), (3, 36)]


@pytest.mark.parametrize("arrives", [False, True])
def test_a_cancelled_reservation_gives_its_blocks_back(arrives: bool) -> None:
    """Whether they are filled or not; the cache that comes later finds nobody."""
    decode = replica(max_num_seqs=1)
    send(decode, 0, 1, Dispatch(request(1, 40, 100), 0))
    send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
    answers(decode, 100_000)
    send(decode, 100_000, 1, Cancellation(1, 0), Kind.CANCELLATION)
    answers(decode, 120_000)
    assert decode.counters()[2] == 20
    send(decode, 130_000, 3, Dispatch(request(3, 100, 100), 0))
    answers(decode, 140_000)
    if arrives:
        send(decode, 140_000, 2, KvReady(2, 1, 79, 0), Kind.KV_READY)
    send(decode, 150_000, 2, Cancellation(2, 1), Kind.CANCELLATION)
    send(decode, 160_000, 2, KvReady(2, 1, 79, 0), Kind.KV_READY)
    assert answers(decode)[-1][1].request_id == 3
    assert decode.counters()[2] == 0


def test_a_cancelled_prompt_is_not_held() -> None:
    """Neither if it is cancelled in its last step, nor while its blocks are held."""
    prefill = replica()
    send(prefill, 0, 1, PrefillLeg(request(1, 40, 9), 0))
    send(prefill, 10_000, 1, Cancellation(1, 0), Kind.CANCELLATION)
    send(prefill, 60_000, 2, PrefillLeg(request(2, 40, 9), 0))
    send(prefill, 200_000, 2, Cancellation(2, 0), Kind.CANCELLATION)
    answers(prefill, 60_000)
    assert prefill.counters()[2] == 0
    answers(prefill, 190_000)
    assert prefill.counters()[2] == 10
    answers(prefill)
    assert prefill.counters()[2] == 0


def test_chunks_are_reported_where_a_connector_sends_them() -> None:
    """A prompt of 100 tokens in steps of 64 and 36 tokens."""
    prefill = replica(reports_chunks=True, max_num_batched_tokens=64)
    send(prefill, 0, 1, PrefillLeg(request(1, 100, 9), 0))
    assert answers(prefill) == [
        (74_500, PrefillProgress(1, 0, 64, 74_000, False, 0, 0, 0)),
        (120_500, PrefillProgress(1, 0, 100, 46_000, True, 0, 0, 0)),
    ]


@pytest.mark.parametrize("window_ns", [700, 5_000, 33_000])
@pytest.mark.parametrize("is_async", [False, True])
def test_no_message_comes_below_its_guarantee(window_ns: int, is_async: bool) -> None:
    """In small windows: what comes is never earlier than the conditional bound before it, nor the unconditional one."""
    decode = replica(batches_in_flight=1 + is_async, is_async=is_async, max_num_seqs=2)
    sent = [
        (0, 1, Dispatch(request(1, 120, 5), 0), Kind.DELIVERY),
        (5_000, 2, Reservation(request(2, 80, 3), 1), Kind.DELIVERY),
        (6_000, 3, Reservation(request(3, 60, 9), 1), Kind.DELIVERY),
        (7_000, 4, Reservation(request(4, 100, 2), 1), Kind.DELIVERY),
        (200_000, 2, KvReady(2, 1, 79, 0), Kind.KV_READY),
        (260_000, 3, KvReady(3, 1, 59, 0), Kind.KV_READY),
        (900_000, 4, KvReady(4, 1, 99, 0), Kind.KV_READY),
    ]
    found = []
    now_ns = 0
    while now_ns < 1_500_000:
        for at_ns, request_id, payload, kind in sent:
            if now_ns <= at_ns < now_ns + window_ns:
                send(decode, at_ns, request_id, payload, kind)
        conditional, unconditional = decode.output_times()
        now_ns += window_ns
        for message in decode.advance(instant(now_ns, Kind.CANCELLATION)):
            without_link = message.instant - instant(500, 0)
            assert without_link >= conditional
            assert without_link >= unconditional
            found.append(message.payload)
    assert decode.output_times().conditional == NEVER
    assert sorted(payload.request_id for payload in found if isinstance(payload, Response)) == [1, 2, 3, 4]
    assert decode.counters()[2] == 0
