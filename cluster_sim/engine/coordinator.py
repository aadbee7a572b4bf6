"""Coordinator: windows and horizons, and the requests for them before the hub may act.

One algorithm serves every executor.  ``Bounds`` says how early a process's message may still reach the hub; bounds fall
and rise, but the hub's clock never falls.  The hub may handle an event at instant e if

    nothing is observed     always;
    responses are observed  e < every bound;
    telemetry is read       e is below the global schedule, or every process has passed the sample that e reads;
    the hub gates events    every process has passed the instant that the hub names for e (``Hub.needed``).

If it may not, the groups that hold it back are called with the hub's earliest possible action M as their clock: M is
its next event that may send, or the smallest bound if responses make it send.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cluster_sim.engine.bounds import Bounds
from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.group import LinkDelays, Reply, Window, horizon_of
from cluster_sim.engine.hub_interface import Hub, Send
from cluster_sim.engine.instant import KIND_MASK, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Join, Message
from cluster_sim.units import NS_PER_S

RUN_AHEAD_SENDS: Final = 8192
"""How many messages the hub may have sent since its last windows: bounds memory where nothing is observed."""
_FEW_PROCESSES: Final = 32
_SENDS_TO_FEW: Final = 512

_TELEMETRY_KINDS: Final = (Kind.SAMPLE, Kind.NOTICE)


def run_ahead_of(processes: int) -> int:
    """Return how many messages the hub should send between its windows where all processes are in its own.

    The fewer, the more of what it keeps of a request is still in the CPU's caches when the answer comes; but every
    window advances every process, which costs as much as several requests, so it pays where they are few.
    """
    return _SENDS_TO_FEW if processes <= _FEW_PROCESSES else RUN_AHEAD_SENDS


@dataclass(frozen=True, slots=True)
class ProcessLink:
    """What the hub knows of one process from the configuration."""

    source: int
    group: int
    delays: LinkDelays
    floors: FloorModel


LinkOfJoining = Callable[[int, Join], ProcessLink]
"""Returns the link of a process that joins, by its source and its first message."""


@dataclass(slots=True)
class _GroupState:
    outbox: list[tuple[int, Message]] = field(default_factory=list)
    called: int = 0
    """Windows sent so far."""
    answered: int = 0
    clock: Instant = 0
    ceiling: Instant = 0
    acknowledged_clock: Instant = 0
    acknowledged_ceiling: Instant = 0
    advances_all: bool = False
    """Whether the window under way advances every process, lazy or not."""
    passed: Instant = 0
    """Every process has been advanced to this instant at least."""
    next_activation: Instant = 0
    forward_ns: int = 0
    """Smallest forward link of the group."""


@dataclass(slots=True)
class Traffic:
    """Counts of the protocol's work, for the benchmarks and the lookahead report."""

    rounds: int = 0
    windows: int = 0
    sends: int = 0
    messages: int = 0


class Coordinator:
    """Keeps bounds and windows for one hub and its groups."""

    def __init__(
        self,
        hub: Hub,
        links: list[ProcessLink],
        run_end: Instant = NEVER,
        run_ahead: int = RUN_AHEAD_SENDS,
        link_of_joining: LinkOfJoining | None = None,
    ) -> None:
        """``link_of_joining`` is asked when the hub sends a ``Join``; the group that it names has a mailbox already."""
        self._hub = hub
        self.observe()
        self._link_of_joining = link_of_joining
        self._run_end = run_end
        self._group_of = {link.source: link.group for link in links}
        self._bounds = Bounds({link.source: (link.floors, link.delays.return_ns) for link in links})
        self._groups = {link.group: _GroupState() for link in links}
        for index, state in self._groups.items():
            state.forward_ns = min(link.delays.forward_ns for link in links if link.group == index)
        self._run_ahead = run_ahead
        self._sampled_ns = -1
        self.clock: Instant = 0
        self.pace: Instant = NEVER
        """Nothing at or above this is handled yet: the wall clock's limit of a paced run."""
        self._granted: Instant = 0
        """Latest clock of any window.  A run that is resumed may be paced anew, from below it."""
        self.traffic = Traffic()

    def observe(self) -> None:
        """Take over what the hub observes; what it has observed from the beginning stays observed."""
        self._observation = self._hub.observation
        assert self._observation.responses or not self._observation.first_tokens
        self._has_gates = self._observation.telemetry or self._observation.gates

    def branch(self, cut: Instant) -> None:
        """Go on from ``cut``, below which all has happened, with what the hub observes from now on; each process must
        say anew when it may send something.
        """
        self.observe()
        self._bounds.begin_anew(cut)
        for state in self._groups.values():
            state.next_activation = 0

    # ------------------------------------------------------------------------------------------- the hub's own events

    def run_hub(self) -> None:
        """Let the hub handle every event that it may."""
        hub = self._hub
        limit = min(self._run_end, self.pace)
        most = self.traffic.sends + self._run_ahead
        is_free = not (self._observation.responses or self._has_gates)
        while self.traffic.sends < most:
            event = hub.next_event()
            if event >= limit or not (is_free or self._may_handle(event)):
                return
            # Telemetry counts from its sampling time, so it may come in after the hub has moved on to events that read
            # none; every decision waits for it.
            assert event >= self.clock or event & KIND_MASK in _TELEMETRY_KINDS, (
                f"the hub went back from {self.clock} to {event}"
            )
            if event > self.clock:  # noqa: PLR1730 - a call costs five times as much
                self.clock = event
            for send in hub.handle():
                self._post(send)

    def _may_handle(self, event: Instant) -> bool:
        observation = self._observation
        if observation.responses and event >= self._bounds.smallest():
            return False
        return not self._has_gates or self._has_passed_for(event)

    def _has_passed_for(self, event: Instant) -> bool:
        """Return whether the processes have passed what the hub reads of them at ``event``."""
        observation = self._observation
        if observation.gates and not self._have_passed(self._hub.needed(event)):
            return False
        return not observation.telemetry or event & KIND_MASK < Kind.GLOBAL_SCHEDULE or self._has_samples_for(event)

    def _have_passed(self, needed: Instant) -> bool:
        return all(state.passed >= needed for state in self._groups.values())

    def _has_samples_for(self, event: Instant) -> bool:
        sample_ns = self._observation.newest_sample_ns(time_of(event))
        if sample_ns <= self._sampled_ns:
            return True
        needed = instant(sample_ns, Kind.SAMPLE) + 1
        clock, ceiling = self._action(), self._ceiling()
        for state in self._groups.values():
            if self._acknowledged_horizon(state) >= needed:
                continue
            # Nothing of an idle group happens below its next activation, so it has passed that without being called.
            is_idle = state.answered == state.called and not state.outbox
            if not is_idle or min(state.next_activation, horizon_of(clock, state.forward_ns, ceiling)) < needed:
                return False
        self._sampled_ns = sample_ns
        return True

    def _acknowledged_horizon(self, state: _GroupState) -> Instant:
        return horizon_of(state.acknowledged_clock, state.forward_ns, state.acknowledged_ceiling)

    def _post(self, send: Send) -> None:
        try:
            state = self._groups[self._group_of[send.receiver]]
        except KeyError:
            state = self._admit(send)
        state.outbox.append((send.receiver, send.message))
        self.traffic.sends += 1
        if self._observation.responses:
            batches = send.batches if not self._observation.first_tokens else min(send.batches, 1)
            self._bounds.send(send.receiver, state.called + 1, time_of(send.message.instant), batches)

    def _admit(self, send: Send) -> _GroupState:
        """Take in the process that a first message makes join."""
        source, join = send.receiver, send.message.payload
        assert isinstance(join, Join), f"process {source} was sent {join} before it joined"
        assert self._link_of_joining is not None, f"process {source} joins a run that takes none"
        link = self._link_of_joining(source, join)
        state = self._groups.setdefault(link.group, _GroupState(forward_ns=link.delays.forward_ns))
        self._group_of[source] = link.group
        self._bounds.add(source, link.floors, link.delays.return_ns)
        state.forward_ns = min(state.forward_ns, link.delays.forward_ns)
        return state

    def regroup(
        self,
        groups: Mapping[int, Sequence[int]],
        delays: Mapping[int, LinkDelays],
        link_of_joining: LinkOfJoining | None,
    ) -> None:
        """Spread the processes over other groups, given by source, while nothing is under way.

        ``delays`` has the links of every process.  What only one of the old groups had passed counts for none.
        """
        assert not self.is_waiting, "a group owes a reply"
        old = list(self._groups.values())
        called = max(state.called for state in old)
        common = {
            name: min(getattr(state, name) for state in old)
            for name in (
                "clock", "ceiling", "acknowledged_clock", "acknowledged_ceiling", "passed", "next_activation",
            )
        }  # fmt: skip
        self._group_of = {source: group for group, sources in groups.items() for source in sources}
        self._groups = {
            group: _GroupState(
                called=called,
                answered=called,
                forward_ns=min((delays[source].forward_ns for source in sources), default=0),
                **common,
            )
            for group, sources in groups.items()
        }
        for state in old:
            for receiver, message in state.outbox:
                if receiver not in self._group_of:  # It joins with this message, so nobody holds it yet.
                    assert link_of_joining is not None
                    link = link_of_joining(receiver, message.payload)
                    self._group_of[receiver] = link.group
                    joined = self._groups.setdefault(link.group, _GroupState(forward_ns=link.delays.forward_ns))
                    joined.forward_ns = min(joined.forward_ns, link.delays.forward_ns)
                self._groups[self._group_of[receiver]].outbox.append((receiver, message))
        self._link_of_joining = link_of_joining

    # -------------------------------------------------------------------------------------------------------- windows

    def _action(self) -> Instant:
        """Return M, the hub's earliest possible action."""
        action = min(self._hub.next_send(), self._run_end, max(self.pace, self._granted))
        if self._observation.reacts:
            action = min(action, self._hub.next_event(), self._bounds.smallest())
        return action

    def _ceiling(self) -> Instant:
        if not self._observation.is_instantaneous:
            return self._run_end
        action = self._action()
        if action >= NEVER:
            return self._run_end
        if action & KIND_MASK > Kind.GLOBAL_SCHEDULE:  # The next decision is a later one.
            return min(instant(time_of(action) + 1, Kind.SAMPLE), self._run_end)
        # At a decision every process shows its state below (t, 25); before one, none may pass (t, 24).
        is_deciding = action == self._hub.next_event() and (
            action & KIND_MASK == Kind.GLOBAL_SCHEDULE
            or (self._observation.gates and self._hub.needed(action) > instant(time_of(action), Kind.SAMPLE))
        )
        kind = Kind.SAMPLE + 1 if is_deciding else Kind.SAMPLE
        return min(instant(time_of(action), kind), self._run_end)

    def _needed(self) -> Instant:
        event = self._hub.next_event()
        return self._hub.needed(event) if event < NEVER else 0

    def calls(self, *, collect_counters: bool = False, advances_all: bool = False) -> dict[int, Window]:
        """Return the windows to send now, by group; empty when every group that matters is already called.

        A group is called if messages wait for it, if its next activation lies below the new horizon, or if the hub's
        next event needs it to pass an instant.  With ``collect_counters`` or ``advances_all`` all are.
        Asking only for horizons that grew makes an empty call impossible.
        """
        advances_all = advances_all or collect_counters
        clock = self._action()
        ceiling = self._ceiling()
        needed = self._needed() if self._observation.gates else 0
        windows: dict[int, Window] = {}
        for index, state in self._groups.items():
            if state.answered != state.called:
                continue
            is_awaited = state.passed < needed <= horizon_of(clock, state.forward_ns, ceiling)
            if not (advances_all or state.outbox or is_awaited) and state.next_activation >= horizon_of(
                clock, state.forward_ns, ceiling
            ):
                continue
            state.called += 1
            state.clock, state.ceiling = clock, ceiling
            state.advances_all = advances_all or is_awaited
            windows[index] = Window(state.called, clock, ceiling, collect_counters, state.outbox, state.advances_all)
            state.outbox = []
            self.traffic.windows += 1
        if windows:
            self._granted = max(self._granted, clock)
            self.traffic.rounds += 1
        return windows

    def absorb(self, index: int, reply: Reply) -> None:
        """Take a group's reply: acknowledge, raise bounds, hand its messages to the hub."""
        state = self._groups[index]
        assert reply.number == state.called, f"group {index} answered window {reply.number}, not {state.called}"
        state.answered = reply.number
        state.acknowledged_clock, state.acknowledged_ceiling = state.clock, state.ceiling
        if state.advances_all:
            state.passed = max(state.passed, self._acknowledged_horizon(state))
        state.next_activation = reply.next_activation
        if self._observation.responses:
            for message in reply.messages:
                bound = self._bounds.of(message.source)
                assert message.instant >= bound or message.instant & KIND_MASK in _TELEMETRY_KINDS, (
                    f"{message} reached the hub at {self.clock}, below the bound of its source, {_describe(bound)}"
                )
        for source, conditional, unconditional in reply.output_times:
            self._bounds.acknowledge(source, reply.number, conditional, unconditional)
        self.traffic.messages += len(reply.messages)
        self._hub.absorb(reply.messages)

    @property
    def reached(self) -> Instant:
        """What the run has come to: the hub's last event, or in a paced run the instant that it waits for."""
        return self.clock if self.pace >= NEVER else max(self.clock, self._action())

    @property
    def is_waiting(self) -> bool:
        """Whether some group owes a reply."""
        return any(state.answered != state.called for state in self._groups.values())

    @property
    def is_done(self) -> bool:
        """Whether nothing can happen any more below the run's end."""
        if self.is_waiting or self._hub.next_event() < self._run_end:
            return False
        return all(not state.outbox and state.next_activation >= self._run_end for state in self._groups.values())

    def describe_wait(self) -> str:
        """Return who waits for whom, for error messages."""
        owing = [index for index, state in self._groups.items() if state.answered != state.called]
        source, bound = self._bounds.tightest()
        return (
            f"the hub's next event is at {_describe(self._hub.next_event())}; groups that owe a reply: "
            f"{owing or 'none'}; smallest bound: process {source} at {_describe(bound)}"
        )


def _describe(instant: Instant) -> str:
    return "never" if instant >= NEVER else f"{time_of(instant) / NS_PER_S:.9f} s, kind {instant & KIND_MASK}"
