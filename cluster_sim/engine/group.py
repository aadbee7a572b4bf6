"""Group: logical processes behind one mailbox, which an actor holds and the inline executor calls directly.

Laziness lives here.  A process is advanced only if its conditional EOT lies below the new horizon, if it owes a
telemetry sample, or, where nobody waits for EOTs, if a message for it falls due; the others only get a higher horizon.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cluster_sim.engine.instant import KIND_BITS, KIND_MASK, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import Join, LogicalProcess, Message, OutputTimes


class Window(NamedTuple):
    """One call of a group by the hub."""

    number: int
    """Counts the calls of this group from 1; a reply acknowledges every message up to its window."""
    clock: Instant
    """The hub's earliest possible action: each process's horizon follows by adding its forward link."""
    ceiling: Instant
    """No process goes to or above this (run end, probes)."""
    collect_counters: bool
    """Advance every process, lazy or not, and answer with their counters (live metrics, pacing)."""
    messages: list[tuple[int, Message]]
    """(receiver's source, message) in order of sending."""
    advances_all: bool = False
    """Advance every process, lazy or not: the hub needs what they report beside the protocol."""


class Reply(NamedTuple):
    """A group's answer to one window."""

    number: int
    messages: list[Message]
    """To the hub, stamped with their arrival there."""
    output_times: list[tuple[int, Instant, Instant]]
    """(source, conditional EOT, unconditional EOT) at the hub (return link added) of every process whose EOTs may have
    changed."""
    next_activation: Instant
    """No process of the group has anything to do, report or answer below this horizon unless a message arrives."""
    counters: dict[int, Any] | None = None
    """The cumulative counters of each process by source, if the window asked for them: of those that have changed since
    it was last asked."""


class LinkDelays(NamedTuple):
    """The latencies of the links between the hub and a process, in ns."""

    forward_ns: int
    return_ns: int


Build = Callable[[int, Join], tuple[LogicalProcess, LinkDelays]]
"""Returns a process that joins, by its source and its first message, and its links."""

Collect = Callable[[dict[int, Any]], dict[int, Any]]
"""Returns plain data, by source, of the counters of the processes that have done something since the last call."""


def horizon_of(clock: Instant, forward_ns: int, ceiling: Instant) -> Instant:
    """Return the horizon of a process: nothing below it will ever be sent to the process after this window."""
    if clock >= NEVER:
        return ceiling
    kind = Kind.KV_READY if clock & KIND_MASK >= Kind.GRANT else Kind.CANCELLATION
    return min(instant(time_of(clock) + forward_ns, kind), ceiling)


class Group:
    """Processes that share one mailbox, and the order in which they must be advanced."""

    def __init__(
        self,
        processes: Sequence[LogicalProcess],
        delays: Mapping[int, LinkDelays],
        observation: Observation,
        build: Build | None = None,
        inspect: Callable[[Any], None] | None = None,
        collect: Collect | None = None,
        *,
        is_restored: bool = False,
    ) -> None:
        """``delays`` gives the links of every process by source; ``build`` makes those that join; ``inspect`` looks at
        every process that a window has moved; ``collect`` makes plain data of the counters of several.  The first reply
        of a group that ``is_restored`` has the EOTs of all: they may have other faults before them than they had.
        """
        self._processes = {process.source: process for process in processes}
        self._delays = dict(delays)
        self._build = build
        self._inspect = inspect
        self._collect = collect
        self._wants_output_times = observation.responses
        self._wants_samples = observation.telemetry
        self._period_ns = observation.period_ns
        self._is_instantaneous = observation.is_instantaneous
        self._owes_all = is_restored
        """Whether the next reply has the EOTs of all."""
        self._shown: dict[int, Any] = {}
        """What processes had done when their counters were last collected."""
        self._activation: dict[int, Instant] = dict.fromkeys(self._processes, NEVER)
        self._output_times: dict[int, OutputTimes] = {}
        self._heap: list[tuple[Instant, int]] = []
        self._max_forward_ns = max((delays[source].forward_ns for source in self._processes), default=0)
        for source in self._processes:
            self._schedule(source)

    @property
    def delays(self) -> dict[int, LinkDelays]:
        """The links of every process by source."""
        return self._delays

    @property
    def processes(self) -> dict[int, LogicalProcess]:
        """The processes by source number."""
        return self._processes

    def step(self, window: Window) -> Reply:
        """Deliver the window's messages and advance every process that must move; none ever sees wall time."""
        output_times: list[tuple[int, Instant, Instant]] = []
        answers: list[Message] = []
        stale: set[int] = set()
        for source, message in window.messages:
            process = self._processes.get(source)
            if process is None:
                process = self._join(source, message)
            process.receive(message)
            stale.add(source)
        for source in sorted(stale) if len(stale) > 1 else stale:
            self._schedule(source)
        if window.advances_all or window.collect_counters:
            for source in self._processes:
                self._set_activation(source, 0)
        farthest = horizon_of(window.clock, self._max_forward_ns, window.ceiling)
        heap = self._heap
        again: list[tuple[Instant, int]] = []
        while heap and heap[0][0] < farthest:
            activation, source = heapq.heappop(heap)
            if activation != self._activation[source]:
                continue
            forward_ns = self._delays[source].forward_ns
            horizon = (
                farthest if forward_ns == self._max_forward_ns else horizon_of(window.clock, forward_ns, window.ceiling)
            )
            if activation >= horizon:
                again.append((activation, source))
                continue
            answers.extend(self._processes[source].advance(horizon))
            self._schedule(source, floor=horizon)
            stale.add(source)
        for entry in again:
            heapq.heappush(heap, entry)
        if self._inspect is not None:
            for source in sorted(stale):
                self._inspect(self._processes[source])
        if self._owes_all:
            self._owes_all = False
            stale.update(self._processes)
        if self._wants_output_times:
            for source in sorted(stale):
                conditional, unconditional = self._output_times[source]
                back = self._delays[source].return_ns << KIND_BITS
                output_times.append(
                    (
                        source,
                        conditional + back if conditional < NEVER else NEVER,
                        unconditional + back if unconditional < NEVER else NEVER,
                    )
                )
        counters = self._changed_counters() if window.collect_counters else None
        return Reply(window.number, answers, output_times, self._next_activation(), counters)

    def _changed_counters(self) -> dict[int, Any]:
        """Return the counters of the processes that have done something since the last call."""
        counters: dict[int, Any] = {}
        for source, process in self._processes.items():
            activity = process.activity()
            if activity != self._shown.get(source):
                self._shown[source] = activity
                counters[source] = process.counters()
        return counters if self._collect is None else self._collect(counters)

    def _join(self, source: int, message: Message) -> LogicalProcess:
        """Build the process that its first message makes join."""
        assert self._build is not None, f"process {source} joins a group that takes none"
        assert isinstance(message.payload, Join), f"{message} is for a process that has not joined"
        process, delays = self._build(source, message.payload)
        assert process.source == source, f"process {process.source} was built for source {source}"
        self._processes[source] = process
        self._delays[source] = delays
        self._max_forward_ns = max(self._max_forward_ns, delays.forward_ns)
        return process

    def finish(self, end: Instant) -> None:
        """Bring every process to exactly ``end``, the last act of a run."""
        for source in sorted(self._processes):
            self._processes[source].finish(end)

    def _schedule(self, source: int, floor: Instant = 0) -> None:
        process = self._processes[source]
        activation = NEVER
        if self._wants_output_times:
            output_times = process.output_times()
            self._output_times[source] = output_times
            # The unconditional EOT matters from the next message on, which leads to new ones anyway.
            activation = output_times.conditional
            if self._is_instantaneous:
                # The ceiling of a probed run lies at the sample of the output's time, below the response itself.
                activation = min(activation, instant(time_of(activation), Kind.SAMPLE) - 1)
        if self._wants_samples:
            activation = min(activation, self._sample_due(process.next_report()))
        elif not self._wants_output_times:
            activation = process.next_report()
        self._set_activation(source, max(activation, floor))

    def _set_activation(self, source: int, activation: Instant) -> None:
        self._activation[source] = activation
        if activation < NEVER:
            heapq.heappush(self._heap, (activation, source))

    def _sample_due(self, change: Instant) -> Instant:
        """Return the first sampling instant that shows a change at ``change``."""
        if change >= NEVER:
            return NEVER
        if self._is_instantaneous:
            return change
        periods, rest = divmod(time_of(change), self._period_ns)
        sample = instant(periods * self._period_ns, Kind.SAMPLE)
        if rest == 0 and change <= sample:
            return sample
        return instant((periods + 1) * self._period_ns, Kind.SAMPLE)

    def _next_activation(self) -> Instant:
        heap = self._heap
        while heap and heap[0][0] != self._activation[heap[0][1]]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER
