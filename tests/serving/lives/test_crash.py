"""A replica that crashes, hangs, joins and leaves, by hand: steps of 1 ms, so that every instant can be counted."""

from dataclasses import replace
from typing import Any

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import HUB_SOURCE, Join, Message, OutputTimes
from cluster_sim.serving.lives.timeline import Timeline
from cluster_sim.serving.messages import Cancellation, Departure, Dispatch, Leave, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.workload.request import Request
from tests.engine.small_fleet import MS, SmallFleet, simulation_of

SYNC: dict[str, Any] = {"async_scheduling": False}
END = instant(1000 * MS, Kind.RUN_END)


def replica_under(
    timeline: Timeline, *requests: tuple[float, int, int], is_joining: bool = False, **parts: Any
) -> Replica:
    """A replica with a timeline in ms, to which requests (delivery in ms, prompt, output) have been sent."""
    small = SmallFleet(engine=SYNC | parts.pop("engine", {}), **parts)
    simulation = replace(simulation_of(small), timeline_of=lambda *_: timeline)
    replica = simulation.build_replica(0, Observation(responses=True), pool=0 if is_joining else None)
    for number, (at_ms, prompt, output) in enumerate(requests):
        send(replica, at_ms, Kind.DELIVERY, Dispatch(Request(number, 0, prompt, output), 0), number)
    return replica


def send(replica: Replica, at_ms: float, kind: int, payload: Any, sequence: int = 0) -> None:
    replica.receive(Message(instant(round(at_ms * MS), kind), HUB_SOURCE, sequence, payload))


def left_by(replica: Replica) -> list[tuple[float, Any]]:
    """What a replica sends to its end: (ms, payload)."""
    messages = sorted(replica.advance(END))
    replica.finish(END)
    return [((message.instant >> 7) / MS, message.payload) for message in messages]


def crash(at_ms: float, until_ms: float) -> Timeline:
    return Timeline(crashes=[(round(at_ms * MS), round(until_ms * MS))])


def test_a_crash_drops_what_is_here() -> None:
    """Of 5 tokens two have come by 2.5 ms; the third never does.  The stage has worked until then, and a request
    that comes after the restart at 4 ms is served by an empty replica.
    """
    replica = replica_under(crash(2.5, 4), (0, 10, 5), (4, 10, 1))
    departure, (at_ms, response) = left_by(replica)
    assert departure == (2.5, Departure(0, 0, 0, 1 * MS, 2, 0, 0))
    assert (at_ms, response.first_token_ns) == (5.0, 5 * MS)
    counters = replica.log.counters(1000 * MS)
    assert (counters.iterations, counters.generated_tokens, counters.prompt_tokens) == (3, 3, 20)
    assert counters.busy_ns == [3.5 * MS]
    assert (counters.crashes, counters.down_ns) == (1, 1.5 * MS)
    assert (counters.entered, counters.left, counters.in_system_area_ns) == (2, 2, 3.5 * MS)


def test_what_ends_with_the_crash_has_ended() -> None:
    """The last of three tokens comes at 3 ms, and so does the crash: the response is sent."""
    replica = replica_under(crash(3, 4), (0, 10, 3), (0.5, 10, 9))
    (at_ms, response), departure = sorted(left_by(replica), key=lambda entry: isinstance(entry[1], Departure))
    assert (at_ms, type(response)) == (3.0, Response)
    assert departure == (3.0, Departure(1, 0, 1 * MS, 2 * MS, 2, 0, 0))


def test_a_promise_omits_what_cannot_end_by_the_crash() -> None:
    """Of 5 tokens at 1 ms each none of the answer comes by 2.5 ms; what is sent to the next life counts from there."""
    replica = replica_under(crash(2.5, 4), (0, 10, 5))
    assert replica.output_times() == OutputTimes(NEVER, NEVER)
    send(replica, 4, Kind.DELIVERY, Dispatch(Request(7, 0, 10, 2), 0), 7)
    assert replica.output_times().unconditional == instant(6 * MS, Kind.RESPONSE)


def test_an_idle_replica_is_not_woken_by_its_crashes() -> None:
    """A crash of an idle replica changes nothing that anybody reads, so it keeps no run alive."""
    replica = replica_under(crash(5, 6))
    assert (replica.next_report(), replica.output_times()) == (NEVER, OutputTimes(NEVER, NEVER))
    replica.finish(END)
    assert replica.log.crashes == 1


def test_the_prefix_cache_is_lost() -> None:
    """A prompt computed before the crash is computed again after it, and found by the one that follows."""
    replica = replica_under(crash(5, 6), engine={"enable_prefix_caching": True, "block_size": 8})
    for number, at_ms in enumerate((0, 2, 7, 9)):
        request = Request(0, 0, 9, 1)
        send(replica, at_ms, Kind.DELIVERY, Dispatch(request, number), number)
    answers = [payload for _, payload in left_by(replica)]
    assert [answer.cached_tokens for answer in answers] == [0, 8, 0, 8]


def test_a_pending_cancellation_ends_with_the_crash() -> None:
    """Given up at 2.2 ms, in the middle of a step that the crash at 2.5 ms cuts off: one departure, as of 2.2 ms."""
    replica = replica_under(crash(2.5, 4), (0, 10, 5))
    send(replica, 2.2, Kind.CANCELLATION, Cancellation(0, 0))
    assert left_by(replica) == [(2.2, Departure(0, 0, 0, 1 * MS, 2, 0, 0))]
    assert replica.log.cancellation_lag_ns == 0.3 * MS


@pytest.mark.parametrize("engine", [{}, {"async_scheduling": True}])
def test_a_hang_holds_steps_up(engine: dict[str, Any]) -> None:
    """Tokens at 1, 2 and, as nothing goes on from 2.5 to 9.5 ms, at 10 ms."""
    replica = replica_under(Timeline(hangs=[(5 * MS // 2, 19 * MS // 2)]), (0, 10, 3), engine=engine)
    ((at_ms, _),) = left_by(replica)
    assert at_ms == 10.0
    assert replica.log.busy_ns == [10 * MS]


def test_a_slow_step_is_longer() -> None:
    """Steps that start from 1 to 3 ms take 1.5 ms: tokens at 1, 2.5 and 4 ms, then at 5 ms."""
    replica = replica_under(Timeline(slowdowns=[(MS, 3 * MS, 1.5)]), (0, 10, 4))
    ((at_ms, _),) = left_by(replica)
    assert at_ms == 5.0


def test_an_outage_holds_messages_up() -> None:
    """The answer of 2 ms sets out at 7 ms, with the first token, and takes 0.5 ms."""
    replica = replica_under(Timeline(outages=[(MS // 2, 7 * MS)]), (0, 10, 2), return_ms=0.5)
    ((at_ms, response),) = left_by(replica)
    assert (at_ms, response.first_token_ns, response.finish_ns) == (7.5, 7.5 * MS, 7.5 * MS)


def test_a_replica_leaves() -> None:
    """At 2.5 ms it ends: the step in flight counts until then only, and the answer that it would have given at 3 ms is
    committed, yet the attempt departs with the two tokens that have come.
    """
    replica = replica_under(Timeline(), (0, 10, 3), (0.5, 10, 9))
    replica.advance(instant(2 * MS, Kind.REPLICA_SCHEDULE) + 1)
    send(replica, 2.5, Kind.CANCELLATION, Leave(0))
    departures = [payload for _, payload in left_by(replica)]
    assert departures == [Departure(0, 0, 0, 1 * MS, 2, 0, 0), Departure(1, 0, 1 * MS, 2 * MS, 1, 0, 0)]
    counters = replica.log.counters(1000 * MS)
    assert (counters.joined_ns, counters.left_ns, counters.presence_ns(0, 1000 * MS)) == (0, 2.5 * MS, 2.5 * MS)
    assert (counters.iterations, counters.busy_ns, counters.overrun_ns) == (2, [2.5 * MS], [0.5 * MS])
    assert (counters.entered, counters.left, counters.in_system_area_ns) == (2, 2, 4.5 * MS)
    assert replica.counters()[:3] == (0, 0, 0.0)


def test_series_only_while_present() -> None:
    """A replica that joins at 12 ms and leaves at 35 ms has ticks at 20 and 30 ms."""
    replica = replica_under(Timeline(), is_joining=True)
    send(replica, 12, Kind.CANCELLATION, Join(0))
    send(replica, 35, Kind.CANCELLATION, Leave(0))
    left_by(replica)
    assert replica.log.take_series()["time_ns"].tolist() == [20 * MS, 30 * MS]
    counters = replica.log.counters(1000 * MS)
    assert [counters.presence_ns(0, until * MS) for until in (10, 20, 1000)] == [0, 8 * MS, 23 * MS]
    assert counters.presence_ns(30 * MS, 1000 * MS) == 5 * MS


def test_tokens_from_elsewhere_are_computed_with_the_prompt() -> None:
    """Four of six tokens are there: 14 tokens are computed, and two steps yield the rest; the departure counts all."""
    request = Request(0, 0, 10, 6)
    replica = replica_under(Timeline())
    send(replica, 0, Kind.DELIVERY, Dispatch(request, 1, 4))
    ((at_ms, response),) = left_by(replica)
    assert (at_ms, response.attempt, replica.log.prompt_tokens, replica.log.generated_tokens) == (2.0, 1, 14, 2)
    replica = replica_under(crash(1.5, 9))
    send(replica, 0, Kind.DELIVERY, Dispatch(request, 1, 4))
    assert left_by(replica) == [(1.5, Departure(0, 1, 0, 1 * MS, 5, 0, 0))]


def test_two_attempts_of_a_request_are_two() -> None:
    """Both run side by side; a cancellation takes only the one that it names."""
    replica = replica_under(Timeline(), (0, 10, 4))
    send(replica, 0, Kind.DELIVERY, Dispatch(Request(0, 0, 10, 4), 1))
    send(replica, 1.5, Kind.CANCELLATION, Cancellation(0, 0))
    departure, (at_ms, response) = left_by(replica)
    assert departure == (1.5, Departure(0, 0, 0, 1 * MS, 1, 0, 0))
    assert (at_ms, response.attempt) == (4.0, 1)
