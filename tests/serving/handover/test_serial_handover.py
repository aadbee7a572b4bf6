import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.serving.handover.messages import Granted, KvReady, PrefillLeg, PrefillProgress, Release, Reservation
from cluster_sim.serving.messages import Cancellation, Dispatch, Response
from tests.serving.handover.small_replica import answers, replica, request, send

KINDS = ("sglang", "tensorrt_llm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_computed_prompt_keeps_its_blocks_until_they_are_released(kind: str) -> None:
    """40 tokens take 50 us; their 10 blocks hold a prompt of 55 blocks back until the release at 100 us."""
    prefill = replica(kind)
    send(prefill, 0, 1, PrefillLeg(request(1, 40, 9), 0))
    assert answers(prefill, 60_000) == [(50_500, PrefillProgress(1, 0, 40, 50_000, True, 0, 0, 0))]
    assert prefill.counters()[:2] == (0, 0)
    assert prefill.counters()[2] == 10
    send(prefill, 60_000, 2, PrefillLeg(request(2, 220, 9), 0))
    send(prefill, 100_000, 1, Release(1, 0), Kind.KV_READY)
    assert answers(prefill) == [(330_500, PrefillProgress(2, 0, 220, 230_000, True, 100_000, 0, 0))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_token_is_the_first_that_is_computed_here(kind: str) -> None:
    """Granted at once on an empty replica; the cache of 80 tokens arrives at 30 us with the first token, which the
    client gets at once, and two steps of 10.105 us make the others.
    """
    decode = replica(kind)
    send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
    assert answers(decode, 20_000) == [(10_500, Granted(2, 1, 10_000, 0))]
    assert decode.counters()[2] == 20
    send(decode, 30_000, 2, KvReady(2, 1, 80, 1), Kind.KV_READY)
    assert answers(decode) == [(50_710, Response(2, 1, "finished", 30_000, 30_500, 50_710, 0, 0))]
    assert decode.counters()[2] == 0


def test_tensorrt_llm_reserves_in_the_order_of_the_queue() -> None:
    """What is promised to the running request, 52 blocks, keeps the 21 of the reservation waiting until it ends."""
    decode = replica("tensorrt_llm")
    send(decode, 0, 1, Dispatch(request(1, 200, 5), 0))
    send(decode, 10_000, 2, Reservation(request(2, 80, 3), 1))
    found = answers(decode)
    assert [type(payload) for _, payload in found] == [Response, Granted]
    assert found[0][0] == found[1][0] == 250_948


def test_sglang_leaves_512_tokens_for_each_request_that_is_there() -> None:
    """Of 2,048 tokens the first prompt takes 80.  The second wants 80 + 512 beside the first's 512; the third, 1,000
    tokens, would want 1,512 of 1,888 less 1,024, and waits until the others have ended.
    """
    decode = replica("sglang", kv_blocks=512, max_model_len=2048)
    for request_id, prompt in ((1, 80), (2, 80), (3, 1000)):
        send(decode, 1000 * request_id, request_id, Reservation(request(request_id, prompt, 2), 1))
    assert [payload.request_id for _, payload in answers(decode, 50_000)] == [1, 2]
    send(decode, 60_000, 1, KvReady(1, 1, 80, 1), Kind.KV_READY)
    assert [type(payload) for _, payload in answers(decode, 90_000)] == [Response]
    send(decode, 100_000, 2, KvReady(2, 1, 80, 1), Kind.KV_READY)
    assert [type(payload) for _, payload in answers(decode)] == [Response, Granted]


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_legs_give_everything_back(kind: str) -> None:
    """Waiting for blocks, loading, arrived and held."""
    decode = replica(kind, max_num_seqs=2)
    send(decode, 0, 1, Dispatch(request(1, 40, 100), 0))
    send(decode, 0, 2, Dispatch(request(2, 40, 100), 0))
    answers(decode, 120_000)
    send(decode, 120_000, 3, PrefillLeg(request(3, 4, 3), 0))
    for request_id in (1, 2):
        send(decode, 130_000, request_id, Cancellation(request_id, 0), Kind.CANCELLATION)
    answers(decode, 200_000)
    assert decode.counters()[2] == 1
    send(decode, 200_000, 3, Cancellation(3, 0), Kind.CANCELLATION)
    for request_id in (4, 5):
        send(decode, 210_000, request_id, Reservation(request(request_id, 40, 3), 1))
    answers(decode, 250_000)
    send(decode, 250_000, 4, Cancellation(4, 1), Kind.CANCELLATION)
    send(decode, 250_000, 5, KvReady(5, 1, 40, 1), Kind.KV_READY)
    send(decode, 251_000, 5, Cancellation(5, 1), Kind.CANCELLATION)
    send(decode, 252_000, 4, KvReady(4, 1, 40, 1), Kind.KV_READY)
    answers(decode)
    assert decode.counters()[:3] == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window_ns", [700, 5_000, 33_000])
def test_no_message_comes_below_its_guarantee(kind: str, window_ns: int) -> None:
    """In small windows: what comes is never earlier than the conditional bound before it, nor the unconditional one."""
    decode = replica(kind, max_num_seqs=2, kv_blocks=512, max_model_len=2048)
    sent = [
        (0, 1, Dispatch(request(1, 120, 5), 0), Kind.DELIVERY),
        (5_000, 2, Reservation(request(2, 800, 3), 1), Kind.DELIVERY),
        (6_000, 3, Reservation(request(3, 60, 40), 1), Kind.DELIVERY),
        (7_000, 4, Reservation(request(4, 1000, 2), 1), Kind.DELIVERY),
    ]
    found = []
    now_ns = 0
    while now_ns < 3_000_000:
        for at_ns, request_id, payload, kind_of_event in sent:
            if now_ns <= at_ns < now_ns + window_ns:
                send(decode, at_ns, request_id, payload, kind_of_event)
        conditional, unconditional = decode.output_times()
        now_ns += window_ns
        for message in decode.advance(instant(now_ns, Kind.CANCELLATION)):
            without_link = message.instant - instant(500, 0)
            assert without_link >= conditional
            assert without_link >= unconditional
            found.append(message.payload)
            if isinstance(message.payload, Granted):
                grant = message.payload
                prompt = {2: 800, 3: 60, 4: 1000}[grant.request_id]
                ready = KvReady(grant.request_id, 1, prompt, 1)
                sent.append((now_ns + 50_000, grant.request_id, ready, Kind.KV_READY))
    assert decode.output_times().conditional == NEVER
    assert sorted(payload.request_id for payload in found if isinstance(payload, Response)) == [1, 2, 3, 4]
    assert decode.counters()[:3] == (0, 0, 0)
