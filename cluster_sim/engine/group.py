"""A group of leaves behind one mailbox: what an actor holds, and what the inline executor calls directly.

Laziness lives here.  A leaf is advanced only when its promise lies below the new horizon, when it owes a telemetry
sample, or, where nobody waits for promises, when a message for it falls due; all others merely see the horizon grow.
"""

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

from cluster_sim.engine.instant import KIND_MASK, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import LogicalProcess, Message, Promise


class Window(NamedTuple):
    """One call of a group by the hub."""

    number: int
    """Counts the calls of this group from 1; a reply acknowledges every message up to its window."""
    clock: Instant
    """The hub's earliest possible action: each leaf's horizon follows by adding its forward link."""
    ceiling: Instant
    """No leaf goes to or above this (run end, probes)."""
    collect_counters: bool
    """Advance every leaf, lazy or not, and answer with their counters (live metrics, pacing)."""
    messages: list[tuple[int, Message]]
    """(leaf source, message) in order of sending."""


class Reply(NamedTuple):
    """A group's answer to one window."""

    number: int
    messages: list[Message]
    """To the hub, stamped with their arrival there."""
    promises: list[tuple[int, Instant, Instant]]
    """(leaf source, C, U) at the hub (return link added) for every leaf whose promise may have changed."""
    next_activation: Instant
    """No leaf of the group has anything to do, report or answer below this horizon unless a message arrives."""
    counters: dict[int, Any] | None = None
    """Each leaf's cumulative counters by source, where the window asked for a flush."""


class Wiring(NamedTuple):
    """Where a leaf sits: its link latencies in ns."""

    forward_ns: int
    return_ns: int


def horizon_of(clock: Instant, forward_ns: int, ceiling: Instant) -> Instant:
    """Return the horizon of a leaf: nothing below it will ever be sent to the leaf after this window."""
    if clock >= NEVER:
        return ceiling
    kind = Kind.KV_READY if clock & KIND_MASK >= Kind.GRANT else Kind.CANCELLATION
    return min(instant(time_of(clock) + forward_ns, kind), ceiling)


class Group:
    """Leaves that share one mailbox, and the order in which they must be touched."""

    def __init__(self, leaves: Sequence[LogicalProcess], wiring: dict[int, Wiring], observation: Observation) -> None:
        self._leaves = {leaf.source: leaf for leaf in leaves}
        self._wiring = wiring
        self._wants_promises = observation.responses
        self._wants_samples = observation.telemetry
        self._period_ns = observation.period_ns
        self._is_instantaneous = observation.is_instantaneous
        self._activation_at: dict[int, Instant] = dict.fromkeys(self._leaves, NEVER)
        self._promises: dict[int, Promise] = {}
        self._heap: list[tuple[Instant, int]] = []
        self._max_forward_ns = max((wiring[source].forward_ns for source in self._leaves), default=0)
        for source in self._leaves:
            self._schedule(source)

    @property
    def leaves(self) -> dict[int, LogicalProcess]:
        """The leaves by source number."""
        return self._leaves

    def step(self, window: Window) -> Reply:
        """Deliver the window's messages and advance every leaf that must move; leaves never see wall time."""
        promises: list[tuple[int, Instant, Instant]] = []
        answers: list[Message] = []
        stale: set[int] = set()
        for source, message in window.messages:
            self._leaves[source].receive(message)
            stale.add(source)
        for source in sorted(stale):
            self._schedule(source)
        if window.collect_counters:
            for source in self._leaves:
                self._set_activation(source, 0)
        farthest = horizon_of(window.clock, self._max_forward_ns, window.ceiling)
        heap = self._heap
        again: list[tuple[Instant, int]] = []
        while heap and heap[0][0] < farthest:
            touch, source = heapq.heappop(heap)
            if touch != self._activation_at[source]:
                continue
            horizon = horizon_of(window.clock, self._wiring[source].forward_ns, window.ceiling)
            if touch >= horizon:
                again.append((touch, source))
                continue
            answers.extend(self._leaves[source].advance(horizon))
            self._schedule(source, floor=horizon)
            stale.add(source)
        for entry in again:
            heapq.heappush(heap, entry)
        if self._wants_promises:
            for source in sorted(stale):
                conditional, unconditional = self._promises[source]
                back = self._wiring[source].return_ns
                promises.append((source, _later(conditional, back), _later(unconditional, back)))
        counters = (
            {source: leaf.counters() for source, leaf in self._leaves.items()} if window.collect_counters else None
        )
        return Reply(window.number, answers, promises, self._next_activation(), counters)

    def finish(self, end: Instant) -> None:
        """Bring every leaf to exactly ``end``, the last act of a run."""
        for source in sorted(self._leaves):
            self._leaves[source].finish(end)

    def _schedule(self, source: int, floor: Instant = 0) -> None:
        leaf = self._leaves[source]
        touch = NEVER
        if self._wants_promises:
            promise = leaf.promise()
            self._promises[source] = promise
            touch = promise.conditional  # U matters from the next message on, which makes a new promise anyway.
            if self._is_instantaneous:
                # The ceiling of a probed run lies at the sample of the promised time, below the response itself.
                touch = min(touch, instant(time_of(touch), Kind.SAMPLE) - 1)
        if self._wants_samples:
            touch = min(touch, self._sample_due(leaf.next_report()))
        elif not self._wants_promises:
            touch = leaf.next_report()
        self._set_activation(source, max(touch, floor))

    def _set_activation(self, source: int, touch: Instant) -> None:
        self._activation_at[source] = touch
        if touch < NEVER:
            heapq.heappush(self._heap, (touch, source))

    def _sample_due(self, change: Instant) -> Instant:
        """Return the first sampling instant that shows a change at ``change``."""
        if change >= NEVER:
            return NEVER
        if self._is_instantaneous:
            return change
        periods, rest = divmod(time_of(change), self._period_ns)
        at = instant(periods * self._period_ns, Kind.SAMPLE)
        if rest == 0 and change <= at:
            return at
        return instant((periods + 1) * self._period_ns, Kind.SAMPLE)

    def _next_activation(self) -> Instant:
        heap = self._heap
        while heap and heap[0][0] != self._activation_at[heap[0][1]]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER


def _later(at: Instant, delay_ns: int) -> Instant:
    return NEVER if at >= NEVER else at + instant(delay_ns, 0)
