"""Bounds, windows and horizons by hand: floors of 10 ns a batch, 2 ns to the process, 3 ns back."""

import pytest

from cluster_sim.engine.coordinator import Coordinator, ProcessLink, run_ahead_of
from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.group import LinkDelays, Reply, horizon_of
from cluster_sim.engine.hub_interface import ANSWERED_AT_ONCE, Send
from cluster_sim.engine.instant import NEVER, Instant, Kind, answer_at, instant, kind_of, time_of
from cluster_sim.engine.observation import NOTHING, Grid, Observation, strictest
from cluster_sim.engine.process import HUB_SOURCE, Join, Message

RESPONSES = Observation(responses=True)


class ScriptedHub:
    """Sends one message of so many batches to process 1 at each of the given times."""

    def __init__(self, observation: Observation, *sends: tuple[int, int]) -> None:
        self.observation = observation
        self._sends = list(sends)
        self.absorbed: list[Message] = []
        self.gate: Instant = 0
        """What its next event needs."""

    def next_event(self) -> Instant:
        return instant(self._sends[0][0], Kind.GLOBAL_SCHEDULE) if self._sends else NEVER

    next_send = next_event

    def needed(self, event: Instant) -> Instant:
        assert event == self.next_event()
        return self.gate

    def handle(self) -> list[Send]:
        at, batches = self._sends.pop(0)
        return [Send(1, Message(instant(at + 2, Kind.DELIVERY), HUB_SOURCE, at, None), batches)]

    def absorb(self, messages: list[Message]) -> None:
        self.absorbed += messages

    def settle(self) -> None:
        pass


def coordinator(hub: ScriptedHub, processes: int = 1, run_end: Instant = NEVER) -> Coordinator:
    floors = FloorModel(10, 10, is_overlapped=False)
    return Coordinator(
        hub, [ProcessLink(1 + index, index, LinkDelays(2, 3), floors) for index in range(processes)], run_end, 100
    )


def response(at: int) -> Instant:
    return instant(at, Kind.RESPONSE)


def test_instants_order_like_pairs() -> None:
    """Time first, then kind; both come back out."""
    assert instant(5, Kind.CANCELLATION) < instant(5, Kind.DELIVERY) < instant(6, Kind.RUN_END) < NEVER
    assert (time_of(instant(7, 52)), kind_of(instant(7, 52))) == (7, 52)


def test_horizon() -> None:
    """The hub's action plus the forward link, at a cancellation's kind or above a grant's; never above a ceiling."""
    assert horizon_of(instant(100, Kind.GLOBAL_SCHEDULE), 2, NEVER) == instant(102, Kind.CANCELLATION)
    assert horizon_of(instant(100, Kind.GRANT), 2, NEVER) == instant(102, Kind.KV_READY)
    assert horizon_of(instant(100, Kind.GLOBAL_SCHEDULE), 2, instant(90, 0)) == instant(90, 0)
    assert horizon_of(NEVER, 2, instant(90, 0)) == instant(90, 0)


@pytest.mark.parametrize(("is_overlapped", "cost_ns"), [(False, 120), (True, 60)])
def test_cost_of_batches(is_overlapped: bool, cost_ns: int) -> None:
    """Three batches through stages of 40 ns in all, 10 ns the slowest: 3 * 40, or 40 + 2 * 10 where they overlap."""
    assert FloorModel(40, 10, is_overlapped).cost_ns(3) == cost_ns


def test_the_strictest_observation_rules() -> None:
    """Declarations are joined; the one telemetry setting survives."""
    telemetry = Observation(telemetry=True, period_ns=50, latency_ns=1)
    assert strictest([NOTHING, telemetry, RESPONSES]) == Observation(True, False, True, 50, 1)
    assert [telemetry.newest_sample_ns(now) for now in (0, 50, 51, 100, 101)] == [-50, 0, 50, 50, 100]


def test_grids_are_joined_by_name() -> None:
    """Fields of one grid unite; with period 50 and latency 1 an event at 101 needs (100, 24), one at 0 nothing."""
    scaler, queue = Grid("scaler", 50, 1, frozenset({"running"})), Grid("queue", 5, 0, frozenset())
    waiting = Grid("scaler", 50, 1, frozenset({"waiting"}), is_read_by_schedules=True)
    combined = strictest([Observation(grids=(scaler,)), NOTHING, Observation(grids=(queue, waiting))])
    assert combined.grids == (
        Grid("scaler", 50, 1, frozenset({"running", "waiting"}), is_read_by_schedules=True),
        queue,
    )
    assert combined.gates
    assert (scaler.needed(101), scaler.needed(0)) == (instant(100, Kind.SAMPLE) + 1, 0)


def test_a_gate_advances_every_process_and_is_passed_once() -> None:
    """An event at 100 needs (90, 22): idle groups are called to advance all, and no longer once they have."""
    hub = ScriptedHub(Observation(gates=True), (100, 1))
    between = coordinator(hub, processes=2)
    for index, window in between.calls().items():
        between.absorb(index, Reply(window.number, [], [], NEVER))
    hub.gate = instant(90, Kind.FAULT) + 1
    between.run_hub()
    assert hub.next_event() == instant(100, Kind.GLOBAL_SCHEDULE)
    windows = between.calls()
    assert [window.advances_all for window in windows.values()] == [True, True]
    between.absorb(0, Reply(windows[0].number, [], [], NEVER))
    between.run_hub()
    assert hub.next_event() == instant(100, Kind.GLOBAL_SCHEDULE)  # The other group has not passed.
    between.absorb(1, Reply(windows[1].number, [], [], NEVER))
    between.run_hub()
    assert hub.next_event() == NEVER


def test_an_answer_without_a_batch_bounds_at_its_delivery() -> None:
    """A reservation delivered at 102 may be granted at once: (102 + 3, 54), below every response that it leads to."""
    between = coordinator(ScriptedHub(RESPONSES, (100, ANSWERED_AT_ONCE)))
    between.run_hub()
    assert between._bounds.smallest() == instant(105, Kind.GRANT)


@pytest.mark.parametrize(
    ("at", "return_ns", "answer"),
    [
        (instant(9, Kind.DELIVERY), 0, instant(9, Kind.GRANT)),
        (instant(9, Kind.REPLICA_SCHEDULE), 0, instant(10, Kind.GRANT)),
        (instant(9, Kind.REPLICA_SCHEDULE), 3, instant(12, Kind.GRANT)),
    ],
)
def test_answers_never_come_in_the_hubs_past(at: Instant, return_ns: int, answer: Instant) -> None:
    """Without a return link an answer given at a grant's kind or later comes 1 ns later."""
    assert answer_at(at, return_ns) == answer


def test_a_joining_process_takes_part() -> None:
    """Its first message names it; its links come from the rule, and its bound from then on counts."""
    hub = ScriptedHub(RESPONSES)
    floors = FloorModel(10, 10, is_overlapped=False)
    joined = ProcessLink(2, 0, LinkDelays(1, 3), floors)
    links = [ProcessLink(1, 0, LinkDelays(2, 3), floors)]
    between = Coordinator(hub, links, link_of_joining=lambda _source, _join: joined)
    between._post(Send(2, Message(instant(50, Kind.CANCELLATION), HUB_SOURCE, 0, Join(0)), 0))
    assert between._bounds.smallest() == NEVER
    between._post(Send(2, Message(instant(60, Kind.DELIVERY), HUB_SOURCE, 0, None), 2))
    assert between._bounds.smallest() == response(60 + 2 * 10 + 3)
    assert [receiver for receiver, _ in between.calls()[0].messages] == [2, 2]


def test_nothing_observed_means_no_waiting() -> None:
    """All events are handled before any window, and one window carries all messages."""
    hub = ScriptedHub(NOTHING, (100, 4), (200, 4), (300, 4))
    ahead = coordinator(hub)
    ahead.run_hub()
    (window,) = ahead.calls().values()
    assert (window.clock, len(window.messages)) == (NEVER, 3)


def test_how_far_the_hub_runs_ahead_in_one_process() -> None:
    """By 512 messages where up to 32 processes must be advanced between, else by the 8,192 that bound memory."""
    assert [run_ahead_of(processes) for processes in (1, 32, 33, 1000)] == [512, 512, 8192, 8192]


def test_bounds_fall_with_sends_and_rise_with_replies() -> None:
    """A dispatch of 4 batches delivered at 102 ns: 102 + 40 + 3.  Then the process's EOTs are 200 and 120; a
    dispatch of 1 batch delivered at 152 lowers the bound to 152 + 10 + 3.
    """
    hub = ScriptedHub(RESPONSES, (100, 4), (150, 1), (170, 1))
    between = coordinator(hub)
    between.run_hub()
    assert between._bounds.smallest() == response(145)  # The event at 150 has to wait.
    assert hub.next_event() == instant(150, Kind.GLOBAL_SCHEDULE)
    (window,) = between.calls().values()
    assert window.clock == instant(150, Kind.GLOBAL_SCHEDULE)
    assert between.calls() == {}  # Nobody is called twice.
    between.absorb(0, Reply(1, [], [(1, response(200), response(120))], response(197)))
    assert between._bounds.smallest() == response(200)
    between.run_hub()
    assert between._bounds.smallest() == response(165)  # 170 has to wait again.
    assert between.calls()[0].number == 2


def test_a_reply_clears_only_what_it_acknowledges() -> None:
    """A dispatch sent after the window stays unacknowledged when the window's reply comes."""
    hub = ScriptedHub(RESPONSES, (100, 9), (120, 1))
    between = coordinator(hub)
    between.pace = instant(110, 0)
    between.run_hub()
    between.calls()
    between.pace = NEVER
    between.run_hub()
    assert between._bounds.smallest() == response(122 + 10 + 3)
    between.absorb(0, Reply(1, [], [(1, response(500), response(400))], response(400)))
    assert between._bounds.smallest() == response(135)


def test_a_message_below_the_clock_is_an_error() -> None:
    """A response cannot come before what the hub has handled already."""
    between = coordinator(ScriptedHub(RESPONSES, (100, 4)))
    between.run_hub()
    between.calls()
    early = Message(response(99), 1, 0, None)
    with pytest.raises(AssertionError, match="below the bound of its source"):
        between.absorb(0, Reply(1, [early], [(1, NEVER, NEVER)], NEVER))


def test_telemetry_waits_for_its_sample_and_only_for_that() -> None:
    """With period 50 and latency 1 the decision at 100 reads the sample at 50: a process that may change below 50 is
    called, an idle one is not.
    """
    hub = ScriptedHub(Observation(telemetry=True, period_ns=50, latency_ns=1), (10, 1), (100, 1))
    between = coordinator(hub, processes=2)
    for index, window in between.calls().items():
        between.absorb(index, Reply(window.number, [], [], NEVER))
    between.run_hub()  # The event at 10 reads no sample; its message may change process 1.
    assert hub.next_event() == instant(100, Kind.GLOBAL_SCHEDULE)
    windows = between.calls()
    assert list(windows) == [0]
    between.absorb(0, Reply(windows[0].number, [], [], instant(150, Kind.SAMPLE)))
    between.run_hub()
    assert hub.next_event() == NEVER


def test_describes_who_waits_for_whom() -> None:
    """The message about a run that is stuck names the next event, the owing groups and the smallest bound."""
    between = coordinator(ScriptedHub(RESPONSES, (100, 4), (5_000, 1)))
    between.run_hub()
    between.calls()
    text = between.describe_wait()
    assert "next event is at 0.000005000 s, kind 40" in text
    assert "groups that owe a reply: [0]" in text
    assert "process 1 at 0.000000145 s, kind 30" in text
