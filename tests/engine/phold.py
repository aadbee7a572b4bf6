"""PHOLD on a star, the classic benchmark of parallel simulation, as a test model of the engine.

A fixed population of balls jumps from process to process through the hub.  A process is one server whose pace depends
on how many balls wait (so an arrival can make an end *earlier*: the two output times differ); the hub forwards each
ball after a keyed delay, to a keyed-random process or to the less loaded of two by telemetry.  Every process chains a
digest over the events that it handles, in its order, so that any reordering changes it.
"""

import heapq
import pickle
from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from actors.codec import Codec, tuple_schema
from cluster_sim.engine.coordinator import ProcessLink
from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.group import LinkDelays
from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, kind_of, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import Join, Message, OutputTimes

MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """Return 64 bits that depend on all values and their order (splitmix64 steps)."""
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ value) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


class Ball(NamedTuple):
    """A ball on its ``hop``-th jump."""

    ball: int
    hop: int


class Tally(NamedTuple):
    """What a process reports beside the protocol, at a time that both ends know: no bound counts it."""

    process: int
    at_ns: int
    digest: int


class Load(NamedTuple):
    """Telemetry: how many balls a process held at a sampling time."""

    process: int
    sample_ns: int
    held: int


@dataclass(frozen=True)
class Phold:
    """One PHOLD study, plain data."""

    seed: int = 1
    processes: int = 4
    balls: int = 8
    floor_ns: int = 3
    spread_ns: int = 20
    """Service is the floor plus up to this, shared by those who wait."""
    delay_ns: int = 0
    """The hub holds a ball up to this long."""
    forward_ns: int = 1
    return_ns: int = 1
    end_ns: int = 400
    is_sampled: bool = False
    period_ns: int = 0
    latency_ns: int = 0
    joins_ns: tuple[int, ...] = ()
    """When the hub lets further processes join."""
    tally_ns: int = 0
    """Time between two tallies, each of which the hub reads a return link later; 0 takes none."""

    @property
    def observation(self) -> Observation:
        """The hub reacts to every response, and may read telemetry and tallies."""
        return Observation(True, True, self.is_sampled, self.period_ns, self.latency_ns, gates=bool(self.tally_ns))

    @property
    def run_end(self) -> Instant:
        """The fixed end: balls never stop by themselves."""
        return instant(self.end_ns, Kind.RUN_END)

    @property
    def link_delays(self) -> LinkDelays:
        """All links are alike."""
        return LinkDelays(self.forward_ns, self.return_ns)

    def links(self, groups: list[list[int]]) -> list[ProcessLink]:
        """Return the hub's view of the processes (indices from 0) placed in groups."""
        floors = FloorModel(self.floor_ns, self.floor_ns, is_overlapped=False)
        return [
            ProcessLink(index + 1, group, self.link_delays, floors)
            for group, members in enumerate(groups)
            for index in members
        ]


class PholdProcess:
    """A server whose queue speeds it up."""

    def __init__(self, study: Phold, index: int) -> None:
        self.source = index + 1
        self.study = study
        self.digest = 0
        self.handled = 0
        self._horizon = 0
        self._inbox: list[Message] = []
        self._queue: deque[Message] = deque()
        self._free_ns = 0
        self._ends: list[int] = []
        self._sample_ns = 0
        self._held = 0
        self._reported = 0
        self._tally_ns = study.tally_ns if index < study.processes else 0
        """When the next tally is due; 0 for none."""

    def receive(self, message: Message) -> None:
        """Accept a ball."""
        assert message.instant >= self._horizon, f"{message} came below process {self.source}'s horizon {self._horizon}"
        heapq.heappush(self._inbox, message)

    def advance(self, horizon: Instant) -> list[Message]:
        """Queue deliveries and start services strictly below the horizon."""
        assert horizon >= self._horizon, "horizons only grow"
        out: list[Message] = []
        while (event := self.next_event()) < horizon:
            self._sample_until(event, out)
            if kind_of(event) == Kind.FAULT:
                tally = Tally(self.source, self._tally_ns, self.digest & 0xFFFF)
                out.append(Message(instant(self._tally_ns, Kind.SAMPLE), self.source, self._tally_ns, tally))
                self._tally_ns += self.study.tally_ns
            elif kind_of(event) == Kind.BATCH_END:
                self._held -= 1
                heapq.heappop(self._ends)
            elif kind_of(event) == Kind.CANCELLATION:
                message = heapq.heappop(self._inbox)
                self.digest = mix(self.digest, message.instant)
                if self.study.tally_ns:
                    self._tally_ns = (time_of(event) // self.study.tally_ns + 1) * self.study.tally_ns
            elif kind_of(event) == Kind.DELIVERY:
                message = heapq.heappop(self._inbox)
                self._held += 1
                self.digest = mix(self.digest, message.instant, message.sequence)
                self._queue.append(message)
            else:
                out.append(self._serve(time_of(event)))
        self._sample_until(horizon, out)
        self._horizon = horizon
        if self.study.observation.is_instantaneous and self._held != self._reported:
            self._reported = self._held
            now = time_of(horizon)
            out.append(Message(instant(now, Kind.SAMPLE), self.source, now, Load(self.source, now, self._held)))
        return out

    def _start_ns(self) -> int:
        return max(time_of(self._queue[0].instant), self._free_ns)

    def next_event(self) -> Instant:
        """Return the next thing that happens here."""
        tally = instant(self._tally_ns, Kind.FAULT) if self._tally_ns else NEVER
        return min(tally, self._next_work())

    def _next_work(self) -> Instant:
        event = self._inbox[0].instant if self._inbox else NEVER
        if self._ends:
            event = min(event, instant(self._ends[0], Kind.BATCH_END))
        if self._queue:
            event = min(event, instant(self._start_ns(), Kind.REPLICA_SCHEDULE))
        return event

    def _service_ns(self, message: Message, waiting: int) -> int:
        draw = mix(self.study.seed, 1, message.payload.ball, message.payload.hop) % (self.study.spread_ns + 1)
        return self.study.floor_ns + draw // waiting

    def _serve(self, now: int) -> Message:
        message = self._queue[0]
        end = now + self._service_ns(message, len(self._queue))
        self._queue.popleft()
        self._free_ns = end
        heapq.heappush(self._ends, end)
        self.handled += 1
        self.digest = mix(self.digest, end, message.payload.ball, message.payload.hop)
        arrival = instant(end + self.study.return_ns, Kind.RESPONSE)
        return Message(arrival, self.source, message.payload.ball, message.payload)

    def _sample_until(self, limit: Instant, out: list[Message]) -> None:
        """Report the samples below ``limit`` that differ from the last one."""
        period = self.study.period_ns
        if not period or not self.study.is_sampled:
            return
        while instant(self._sample_ns, Kind.SAMPLE) < limit:
            if self._held != self._reported:
                self._reported = self._held
                visible = instant(self._sample_ns + self.study.latency_ns, Kind.NOTICE)
                load = Load(self.source, self._sample_ns, self._held)
                out.append(Message(visible, self.source, self._sample_ns, load))
            self._sample_ns += period

    def output_times(self) -> OutputTimes:
        """The conditional EOT knows who waits when the next service starts; the unconditional one only the floor."""
        pending = sorted(message for message in self._inbox if kind_of(message.instant) == Kind.DELIVERY)
        heads = [*self._queue, *pending]
        if not heads:
            return OutputTimes(NEVER, NEVER)
        start = max(time_of(heads[0].instant), self._free_ns, time_of(self._horizon) if self._queue else 0)
        waiting = sum(time_of(head.instant) <= start for head in heads)
        back = Kind.RESPONSE
        return OutputTimes(
            instant(start + self._service_ns(heads[0], waiting), back), instant(start + self.study.floor_ns, back)
        )

    def next_report(self) -> Instant:
        """Return when the load may change here, or the horizon where telemetry does not show that it did."""
        is_told = not self.study.is_sampled or self._held == self._reported
        return self._next_work() if is_told else self._horizon

    def finish(self, end: Instant) -> None:
        """Handle what is left below the end; none of it reaches the hub in time."""
        late = [message.instant for message in self.advance(end) if kind_of(message.instant) == Kind.RESPONSE]
        assert all(arrival >= end for arrival in late), f"process {self.source} kept back a message below the end"

    def counters(self) -> Any:
        """Return how much was handled."""
        return [self.handled, self._held]

    def activity(self) -> Any:
        """Return what the counters are made of."""
        return self.handled, self._held

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return pickle.dumps(self.__dict__)

    def restore(self, state: bytes) -> None:
        """Take back a state."""
        self.__dict__.update(pickle.loads(state))


class PholdHub:
    """Forwards balls."""

    def __init__(self, study: Phold) -> None:
        self.study = study
        self.observation = study.observation
        self.digest = 0
        self.handled = 0
        self._clock = 0
        self._events: list[Message] = []
        self._loads: list[list[Load]] = [[] for _ in range(study.processes + len(study.joins_ns) + 1)]
        self._members = study.processes
        self._tallies: list[Tally] = []
        self._bias = 0
        for number, at_ns in enumerate(study.joins_ns):
            heapq.heappush(self._events, Message(instant(at_ns, Kind.TIMER), 0, number, Join(0)))
        for at_ns in range(study.tally_ns, study.end_ns, study.tally_ns) if study.tally_ns else ():
            reading = instant(at_ns + study.return_ns, Kind.RESET)
            heapq.heappush(self._events, Message(reading, 0, at_ns, None))
        for ball in range(study.balls):
            start = instant(mix(study.seed, 2, ball) % 30, Kind.GLOBAL_SCHEDULE)
            heapq.heappush(self._events, Message(start, 0, ball, Ball(ball, 0)))

    def next_event(self) -> Instant:
        """Return the next event."""
        return self._events[0].instant if self._events else NEVER

    def needed(self, event: Instant) -> Instant:
        """Return the time of the tallies that the next event reads, if it does."""
        at_ns = self._events[0].sequence if kind_of(event) == Kind.RESET else -1
        return instant(at_ns, Kind.FAULT) + 1 if at_ns >= 0 else 0

    def next_send(self) -> Instant:
        """Return the next event: a response may be forwarded at once."""
        return self.next_event()

    def handle(self) -> list[Send]:
        """Handle a response or forward a ball."""
        message = heapq.heappop(self._events)
        assert message.instant >= self._clock, "the hub went back"
        self._clock = message.instant
        if kind_of(message.instant) == Kind.TIMER:
            self._members += 1
            arrival = instant(time_of(message.instant) + self.study.forward_ns, Kind.CANCELLATION)
            return [Send(self._members, Message(arrival, 0, message.sequence, message.payload), 0)]
        if kind_of(message.instant) == Kind.RESET:
            read = sorted(tally for tally in self._tallies if tally.at_ns == message.sequence)
            self._bias = mix(len(read), *(tally.digest for tally in read))
            self.digest = mix(self.digest, self._bias)
            return []
        ball, hop = message.payload
        self.handled += 1
        self.digest = mix(self.digest, message.instant, message.source, ball, hop)
        now = time_of(message.instant)
        if kind_of(message.instant) == Kind.RESPONSE:
            delay = mix(self.study.seed, 3, ball, hop) % (self.study.delay_ns + 1)
            forward = Message(instant(now + delay, Kind.GLOBAL_SCHEDULE), 0, ball, Ball(ball, hop + 1))
            heapq.heappush(self._events, forward)
            return []
        process = self._choose(now, ball, hop)
        self.digest = mix(self.digest, process)
        delivery = Message(instant(now + self.study.forward_ns, Kind.DELIVERY), 0, ball, Ball(ball, hop))
        return [Send(process, delivery, 1)]

    def _choose(self, now: int, ball: int, hop: int) -> int:
        draw = mix(self.study.seed, 4, ball, hop) ^ self._bias
        first = draw % self._members + 1
        if not self.study.is_sampled:
            return first
        second = (draw >> 32) % self._members + 1
        newest = self.observation.newest_sample_ns(now)
        held = [self._held(process, newest) for process in (first, second)]
        self.digest = mix(self.digest, *held)
        return first if held[0] <= held[1] else second

    def _held(self, process: int, newest_ns: int) -> int:
        seen = [load for load in self._loads[process] if load.sample_ns <= newest_ns]
        return seen[-1].held if seen else 0

    def absorb(self, messages: list[Message]) -> None:
        """Store telemetry; keep responses as events."""
        for message in messages:
            if isinstance(message.payload, Tally):
                self._tallies.append(message.payload)
            elif isinstance(message.payload, Load):
                self._loads[message.source].append(message.payload)
            else:
                heapq.heappush(self._events, message)

    def settle(self) -> None:
        """Nothing waits."""


def phold_codec() -> Codec:
    """Return the wire format of balls, loads, joins and tallies."""
    return Codec((tuple_schema(1, Ball), tuple_schema(2, Load), tuple_schema(3, Join), tuple_schema(4, Tally)))


def phold_digest(hub: PholdHub, processes: list[PholdProcess]) -> tuple[int, ...]:
    """Return what must be equal for every executor and placement."""
    return (
        hub.digest,
        hub.handled,
        *(process.digest for process in sorted(processes, key=attrgetter("source"))),
    )
