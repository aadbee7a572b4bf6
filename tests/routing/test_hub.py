"""The router by hand: what it refuses, the order of its events, and what it keeps of every request."""

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import Message
from cluster_sim.recording.reasons import CONTEXT_LENGTH, KV_CACHE, REASONS
from cluster_sim.recording.rows import FIELD
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.routing.admission import NOBODY, Admission, StaticLimits
from cluster_sim.serving.messages import Response
from cluster_sim.workload.request import Attributes, Request
from tests.engine.small_fleet import MS, Evidence, Run, SmallFleet, prepare, run_inline

ENGINE = {"max_model_len": 64, "num_kv_blocks": 4}
"""Three usable blocks of 16 tokens: 48."""


def statuses(evidence: Evidence) -> list[str]:
    return [STATUSES[code] for code in evidence.column("status")]


def response(number: int, at_ms: float) -> Message:
    at = round(at_ms * MS)
    payload = Response(number, 0, FINISHED, 0, at, at, 0, 0)
    return Message(instant(at, Kind.RESPONSE), 1, number, payload)


def statuses_of(run: Run) -> dict[int, str]:
    run.hub.close()
    return {row[0]: STATUSES[row[6]] for row in run.rows}


def test_static_limits() -> None:
    """The context counts every token; the cache all but the last, which is never stored."""
    limits = StaticLimits(max_model_len=64, kv_blocks=3, block_size=16)
    assert limits.can_run(Request(0, 0, 40, 9))  # 48 stored tokens.
    assert not limits.can_run(Request(0, 0, 40, 10))
    assert StaticLimits(64, 4, 16).can_run(Request(0, 0, 60, 4))
    assert not StaticLimits(64, 9, 16).can_run(Request(0, 0, 60, 5))


def test_requests_go_to_replicas_that_can_run_them() -> None:
    """Each pool's own limits count: everybody, some positions in order, or nobody, with the reason."""
    short, long, roomy = StaticLimits(64, 9, 16), StaticLimits(256, 3, 16), StaticLimits(128, 9, 16)
    admission = Admission([short, long, short, roomy])
    assert admission.eligible(Request(0, 0, 40, 8)) is None
    assert admission.eligible(Request(0, 0, 60, 4)) == [0, 2, 3]
    assert admission.eligible(Request(0, 0, 100, 20)) == [3]
    assert admission.eligible(Request(0, 0, 100, 30)) is NOBODY
    assert admission.reason(Request(0, 0, 100, 30)) == KV_CACHE
    assert admission.reason(Request(0, 0, 250, 7)) == CONTEXT_LENGTH
    assert Admission([short, short]).eligible(Request(0, 0, 60, 4)) is None


def test_refusals_have_a_row_and_cost_no_time() -> None:
    """Too long for the context, too long for the cache, and one that fits exactly."""
    evidence, run = run_inline(SmallFleet(arrivals=((1, 60, 5), (2, 40, 10), (3, 40, 9)), engine=ENGINE))
    assert statuses(evidence) == ["refused", "refused", "finished"]
    assert evidence.column("replica") == [-1, -1, 0]
    assert [REASONS[code] for code in evidence.column("reason")] == [CONTEXT_LENGTH, KV_CACHE, ""]
    assert evidence.column("dispatch_ns") == [-1, -1, 3 * MS]
    assert run.hub.in_flight == 0


def test_unknown_model_is_refused() -> None:
    """A request for a model that no pool serves never reaches a replica."""
    run = prepare(SmallFleet())
    stranger = Request(0, 0, 1, 1, Attributes(model="gpt-x"))
    assert run.hub._on_arrival(stranger, 0) == []
    assert statuses_of(run) == {0: "refused"}
    assert run.rows[0][FIELD["reason"]] == REASONS.index("no_model")


def test_dispatch_is_delivered_after_the_link() -> None:
    """The message carries the delivery at kind 52 and the batches of a best case: one a token."""
    run = prepare(SmallFleet(arrivals=((1, 10, 3),), forward_ms=0.5))
    assert run.hub.next_event() == run.hub.next_send() == instant(MS, Kind.GLOBAL_SCHEDULE)
    (send,) = run.hub.handle()
    assert (send.receiver, send.message.instant, send.message.sequence, send.batches) == (
        1,
        instant(3 * MS // 2, Kind.DELIVERY),
        0,
        3,
    )
    assert run.hub.next_event() == NEVER
    assert run.hub.in_flight_ids() == [0]


def test_order_at_one_instant() -> None:
    """At 5 ms: the response (30), then the time-out (36), then the arrival (40)."""
    small = SmallFleet(arrivals=((0, 1, 1), (1, 1, 1), (5, 1, 1)), policy="least_outstanding", timeout_ms=4.0)
    run = prepare(small)
    hub = run.hub
    hub.handle()
    hub.handle()
    assert hub.next_event() == instant(4 * MS, Kind.TIMER)
    hub.absorb([response(0, 5)])
    kinds = []
    while hub.next_event() < NEVER:
        kinds.append((hub.next_event() >> 7, hub.next_event() & 127))
        hub.handle()
    assert kinds == [
        (4 * MS, Kind.TIMER),  # Request 0 is given up.
        (5 * MS, Kind.RESPONSE),  # Its response is ignored.
        (5 * MS, Kind.TIMER),
        (5 * MS, Kind.GLOBAL_SCHEDULE),
        (9 * MS, Kind.TIMER),
    ]
    assert statuses_of(run) == {0: "cancelled", 1: "cancelled", 2: "cancelled"}


def test_a_response_in_time_beats_the_time_out() -> None:
    """Answered at the very instant of its time-out, a request is finished; the time-out finds nothing."""
    run = prepare(SmallFleet(arrivals=((0, 1, 1),), policy="least_outstanding", timeout_ms=4.0))
    run.hub.handle()
    run.hub.absorb([response(0, 4)])
    while run.hub.next_event() < NEVER:
        assert run.hub.handle() == []
    assert statuses_of(run) == {0: "finished"}


def test_unobserved_responses_are_booked_when_nobody_waits() -> None:
    """Under round robin a response is no event; it is booked by ``settle``, unless it comes at the run's end."""
    run = prepare(SmallFleet(arrivals=((0, 1, 1), (0, 1, 1)), end_ms=5.0))
    run.hub.handle()
    run.hub.handle()
    run.hub.absorb([response(0, 4.999), response(1, 5)])
    assert run.hub.next_event() == NEVER
    run.hub.settle()
    assert run.hub.in_flight_ids() == [1]
    assert statuses_of(run) == {0: "finished", 1: "unfinished"}


def test_closed_loop_sends_on_ends() -> None:
    """A user's next request arrives its think time after the end, and every user gets four turns."""
    evidence, _ = run_inline(SmallFleet(users=2, think_ms=1.0, replicas=2))
    assert len(evidence.rows) == 8
    arrivals, finishes = evidence.column("arrival_ns"), evidence.column("finish_ns")
    for request_id in range(2, 8):
        assert arrivals[request_id] == finishes[request_id - 2] + MS * (1 + request_id % 2)
