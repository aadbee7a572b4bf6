"""A replica's times by hand: steps of 1 ms, so that every instant can be counted on the fingers."""

from typing import Any

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message, OutputTimes
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.serving.messages import Cancellation, Departure, Dispatch
from cluster_sim.serving.replica import Replica
from cluster_sim.workload.request import Request
from tests.engine.small_fleet import MS, Evidence, SmallFleet, prepare, run_inline

SYNC: dict[str, Any] = {"async_scheduling": False}
ASYNC: dict[str, Any] = {"async_scheduling": True}


def times(evidence: Evidence) -> list[tuple[float, float, float]]:
    """(scheduled, first token, finish) in ms by request."""
    columns = (evidence.column(name) for name in ("scheduled_ns", "first_token_ns", "finish_ns"))
    return [(a / MS, b / MS, c / MS) for a, b, c in zip(*columns, strict=True)]


def statuses(evidence: Evidence) -> list[str]:
    return [STATUSES[code] for code in evidence.column("status")]


def test_three_tokens_and_both_links() -> None:
    """Delivered at 0.5 ms, three steps up to 3.5 ms; the hub sees each token 0.25 ms later."""
    small = SmallFleet(arrivals=((0, 10, 3),), engine=SYNC, forward_ms=0.5, return_ms=0.25)
    evidence, _ = run_inline(small)
    assert times(evidence) == [(0.5, 1.75, 3.75)]
    assert (evidence.replicas[0].iterations, evidence.replicas[0].busy_ns) == (3, [3 * MS])


def test_a_late_request_joins_the_next_formation() -> None:
    """It arrives at 0.2 ms, in the middle of a step, and is scheduled at its end; its only token is also its last."""
    evidence, _ = run_inline(SmallFleet(arrivals=((0, 10, 3), (0.2, 10, 1)), engine=SYNC))
    assert times(evidence) == [(0.0, 1.0, 3.0), (1.0, 2.0, 2.0)]


def test_with_two_batches_in_flight_it_waits_a_step_longer() -> None:
    """The step from 1 to 2 ms is planned at 0 ms already: scheduled at 1 ms, the late request runs from 2 to 3 ms."""
    evidence, _ = run_inline(SmallFleet(arrivals=((0, 10, 3), (0.2, 10, 1)), engine=ASYNC))
    assert times(evidence) == [(0.0, 1.0, 3.0), (1.0, 3.0, 3.0)]


def test_two_stages_overlap_two_requests() -> None:
    """Half a step a stage: the second batch enters the first stage at 0.5 ms, and each request's own steps follow one
    another through both stages.
    """
    small = SmallFleet(arrivals=((0, 10, 2), (0.2, 10, 2)), stages=2, engine=SYNC)
    evidence, _ = run_inline(small)
    assert times(evidence) == [(0.0, 1.0, 2.0), (0.2, 1.5, 2.5)]
    assert evidence.replicas[0].busy_ns == [2 * MS, 2 * MS]


def test_api_server_delays_the_queue() -> None:
    """1 ms and 0.1 ms a prompt token pass before the scheduler sees the request."""
    predictor = {"kind": "linear", "alpha_us": 1000.0, "frontend_us": 1000.0, "frontend_us_per_token": 100.0}
    evidence, _ = run_inline(SmallFleet(arrivals=((0, 10, 1),), engine=SYNC, predictor=predictor))
    assert times(evidence) == [(2.0, 3.0, 3.0)]


@pytest.mark.parametrize(("end_ms", "status"), [(3.75, "unfinished"), (3.751, "finished")])
def test_nothing_happens_at_the_end_of_a_run(end_ms: float, status: str) -> None:
    """A response that reaches the hub exactly at the run's end is too late."""
    small = SmallFleet(arrivals=((0, 10, 3),), engine=SYNC, forward_ms=0.5, return_ms=0.25, end_ms=end_ms)
    evidence, _ = run_inline(small)
    assert statuses(evidence) == [status]


def test_a_cancellation_ends_the_decoding() -> None:
    """Given up at 2 ms, the cancellation arrives with the end of the second step at 2.5 ms: there is no third.

    The second ends beyond the end of the run, which is when the last request has ended.
    """
    small = SmallFleet(arrivals=((0, 10, 9),), engine=SYNC, forward_ms=0.5, timeout_ms=2.0)
    evidence, _ = run_inline(small)
    assert statuses(evidence) == ["cancelled"]
    assert times(evidence) == [(0.5, 1.5, 2.0)]
    assert evidence.column("generated_tokens") == [2]
    (counters,) = evidence.replicas
    assert (counters.iterations, counters.overrun_iterations, counters.left) == (1, 1, 1)
    assert (counters.busy_ns, counters.overrun_ns) == ([1.5 * MS], [0.5 * MS])


def test_a_response_and_a_cancellation_cross() -> None:
    """The only token comes at 1.5 ms and would be back at 2.25 ms; given up at 2 ms, the cancellation finds nobody at
    2.5 ms, by when the request has been gone for 1 ms.
    """
    small = SmallFleet(arrivals=((0, 10, 1),), engine=SYNC, forward_ms=0.5, return_ms=0.75, timeout_ms=2.0)
    evidence, _ = run_inline(small)
    assert statuses(evidence) == ["cancelled"]
    (counters,) = evidence.replicas
    assert (counters.left, counters.in_system_area_ns, counters.cancellation_lag_ns) == (1, 1 * MS, -1 * MS)


def test_a_cancellation_overtakes_the_api_server() -> None:
    """It takes 3 ms over the request; given up at 2 ms, the request never comes to the scheduler."""
    predictor = {"kind": "linear", "alpha_us": 1000.0, "frontend_us": 3000.0}
    evidence, _ = run_inline(SmallFleet(arrivals=((0, 10, 3),), engine=SYNC, predictor=predictor, timeout_ms=2.0))
    (counters,) = evidence.replicas
    assert (counters.iterations, counters.left, counters.in_system_area_ns) == (0, 1, 2 * MS)


def cancel(replica: Replica, request_id: int, at_ms: float) -> None:
    """Tell a replica that a client gave up, and let it come to that instant."""
    at = instant(round(at_ms * MS), Kind.CANCELLATION)
    replica.receive(Message(at, HUB_SOURCE, request_id, Cancellation(request_id, 0)))
    replica.advance(at + 1)


def test_what_waits_leaves_when_the_cancellation_arrives() -> None:
    """The only slot is taken and its step lasts to 1 ms; the second request leaves at 0.3 ms all the same."""
    replica = replica_with((0, 10, 9), (0.2, 10, 5), engine=SYNC | {"max_num_seqs": 1})
    cancel(replica, 1, 0.3)
    assert replica.counters()[:2] == (1, 0)
    assert replica.log.counters(MS).in_system_area_ns == MS + MS // 10
    assert replica.log.cancellation_lag_ns == 0


def test_what_runs_leaves_when_the_next_batch_ends() -> None:
    """At 1.2 ms the steps up to 2 ms and up to 3 ms are in flight: it leaves with the first of them, and its token of
    the second goes nowhere.
    """
    replica = replica_with((0, 10, 9), engine=ASYNC)
    cancel(replica, 0, 1.2)
    assert replica.log.left == 0
    (departure,) = replica.advance(NEVER)
    assert departure.payload == Departure(0, 0, 0, 1 * MS, 1, 0, 0)
    assert (replica.log.iterations, replica.log.left) == (3, 1)
    assert replica.log.counters(3 * MS).in_system_area_ns == 2 * MS
    assert replica.log.cancellation_lag_ns == 8 * MS // 10


def test_what_is_nearly_done_ends() -> None:
    """At 2.2 ms the step of the last token is formed: its response leaves, and the cancellation comes to nothing."""
    replica = replica_with((0, 10, 3), engine=SYNC, timeout_ms=1.0)
    (response,) = replica.advance(instant(2 * MS + 1, Kind.DELIVERY))
    assert response.instant == response_at(3)
    cancel(replica, 0, 2.2)
    (departure,) = replica.advance(NEVER)
    assert departure.payload == Departure(0, 0, 0, 1 * MS, 2, 0, 0)
    assert (replica.log.left, replica.log.cancellation_lag_ns) == (1, 8 * MS // 10)


def replica_with(*requests: tuple[float, int, int], engine: dict[str, Any] = SYNC, **parts: Any) -> Replica:
    """A replica to which requests (delivery in ms, prompt, output) have been sent."""
    replica = prepare(SmallFleet(policy="least_outstanding", engine=engine, **parts)).replicas[0]
    for number, (at_ms, prompt, output) in enumerate(requests):
        at = round(at_ms * MS)
        dispatch = Dispatch(Request(number, at, prompt, output), 0)
        replica.receive(Message(instant(at, Kind.DELIVERY), HUB_SOURCE, number, dispatch))
    return replica


def response_at(at_ms: float) -> int:
    return instant(round(at_ms * MS), Kind.RESPONSE)


def test_promises() -> None:
    """Idle: never.  With one request of 5 tokens: its end at 5 ms.  With another due at 3 ms, of one token: 4 ms."""
    replica = replica_with()
    assert replica.output_times() == OutputTimes(NEVER, NEVER)
    replica = replica_with((0, 10, 5))
    assert replica.output_times() == OutputTimes(response_at(5), response_at(5))
    assert replica.advance(instant(MS // 2, Kind.CANCELLATION)) == []
    assert replica.output_times() == OutputTimes(response_at(5), response_at(5))
    replica = replica_with((0, 10, 5), (3, 10, 1))
    assert replica.output_times() == OutputTimes(response_at(4), response_at(4))


def test_a_promise_is_exact_where_the_floor_is_not() -> None:
    """Steps of 1 ms and 1 us a cached token: U counts bare steps, C the run as it is planned."""
    predictor = {"kind": "linear", "alpha_us": 1000.0, "gamma_us": 1.0}
    replica = replica_with((0, 100, 3), predictor=predictor)
    replica.advance(instant(MS // 2, Kind.CANCELLATION))
    conditional, unconditional = replica.output_times()
    # The prefill ends at 1 ms; two decodes read 100 and 101 tokens.
    assert conditional == response_at(3.201)
    assert unconditional == response_at(3)


def test_a_response_leaves_when_its_last_step_is_formed() -> None:
    """The step that ends at 3 ms is formed at 2 ms: a horizon just above that brings the response."""
    replica = replica_with((0, 10, 3))
    assert replica.advance(instant(2 * MS, Kind.REPLICA_SCHEDULE)) == []
    (message,) = replica.advance(instant(2 * MS, Kind.REPLICA_SCHEDULE) + 1)
    assert (message.instant, message.source, message.sequence) == (response_at(3), 1, 0)


def test_a_message_below_the_horizon_is_an_error() -> None:
    """What comes too late breaks the protocol at once."""
    replica = replica_with()
    replica.advance(instant(MS, Kind.CANCELLATION))
    late = Message(instant(MS - 1, Kind.DELIVERY), HUB_SOURCE, 0, Dispatch(Request(0, 0, 1, 1), 0))
    with pytest.raises(AssertionError, match="below replica 0's horizon"):
        replica.receive(late)
