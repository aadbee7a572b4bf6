"""Bounds: the earliest instant at which a message of each process may still reach the hub.

The hub knows each process's last earliest output times (EOT), and the messages that the process did not know of then:

    bound = min(conditional EOT,
                max(unconditional EOT, d + F + return),
                d_i + cost_i + return for every unacknowledged message i,
                d_i + return, kind GRANT, for every one that may be answered without a batch)

Here d is the earliest unacknowledged delivery.  The conditional EOT holds until anything arrives; from then on the
unconditional one does, and a new job needs its own batches first.  Bounds fall with sends and rise with replies; the
minima over unacknowledged messages are kept, so that a send costs the same however many there are.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind


@dataclass(slots=True)
class _Bound:
    floors: FloorModel
    return_ns: int
    conditional: Instant = NEVER
    unconditional: Instant = NEVER
    unacknowledged: list[tuple[int, Instant, Instant]] = field(default_factory=list)
    """(window number, earliest end of a batch that it changes, earliest answer to it alone) of messages that no reply
    has acknowledged, in the order of their windows."""
    disturbed: Instant = NEVER
    """The earliest end of a batch that any of them changes."""
    answered: Instant = NEVER
    """The earliest answer to any of them alone."""
    value: Instant = NEVER

    def note(self, window: int, delivery_ns: int, batches: int) -> None:
        """Take in a message that the process does not know of."""
        floors, back_ns = self.floors, delivery_ns + self.return_ns
        answer = NEVER
        if batches < 0:
            answer = back_ns << KIND_BITS | Kind.GRANT
        elif batches:
            answer = back_ns + floors.cost_ns(batches) << KIND_BITS | Kind.RESPONSE
        disturbed = back_ns + floors.traversal_ns << KIND_BITS | Kind.RESPONSE
        self.unacknowledged.append((window, disturbed, answer))
        if disturbed < self.disturbed:  # noqa: PLR1730 - a call costs five times as much
            self.disturbed = disturbed
        if answer < self.answered:  # noqa: PLR1730
            self.answered = answer

    def forget(self, window: int) -> None:
        """Forget the messages of all windows up to ``window``."""
        left = self.unacknowledged
        if not left:
            return
        self.disturbed = self.answered = NEVER
        if left[-1][0] <= window:
            left.clear()
            return
        self.unacknowledged = left = [entry for entry in left if entry[0] > window]
        for _, disturbed, answer in left:
            self.disturbed = min(self.disturbed, disturbed)
            self.answered = min(self.answered, answer)

    def earliest(self) -> Instant:
        """Return the bound as the formula says."""
        if not self.unacknowledged:
            return self.conditional
        disturbed = self.unconditional if self.unconditional > self.disturbed else self.disturbed  # noqa: FURB136
        return min(self.conditional, disturbed, self.answered)


class Bounds:
    """The bounds of all processes, of which ``links`` gives the floors and the return link in ns by source."""

    def __init__(self, links: Mapping[int, tuple[FloorModel, int]]) -> None:
        self._bounds = {source: _Bound(floors, return_ns) for source, (floors, return_ns) in links.items()}
        self._heap: list[tuple[Instant, int]] = []

    def add(self, source: int, floors: FloorModel, return_ns: int) -> None:
        """Take in a process that joins: nothing comes from it before its first message has reached it."""
        self._bounds[source] = _Bound(floors, return_ns)

    def send(self, source: int, window: int, delivery_ns: int, batches: int) -> None:
        """Lower a bound for a message in a window, delivered at ``delivery_ns``, with ``batches`` as in ``Send``."""
        bound = self._bounds[source]
        bound.note(window, delivery_ns, batches)
        self._refresh(source, bound)

    def acknowledge(self, source: int, window: int, conditional: Instant, unconditional: Instant) -> None:
        """Take both EOTs of a reply, which acknowledges every message up to its window."""
        bound = self._bounds[source]
        bound.conditional, bound.unconditional = conditional, unconditional
        bound.forget(window)
        self._refresh(source, bound)

    def begin_anew(self, instant: Instant) -> None:
        """Take back what processes have promised: until each replies, something may come from ``instant`` on."""
        for source, bound in self._bounds.items():
            bound.conditional = bound.unconditional = instant
            self._refresh(source, bound)

    def _refresh(self, source: int, bound: _Bound) -> None:
        value = bound.earliest()
        if value != bound.value:
            bound.value = value
            if value < NEVER:
                heapq.heappush(self._heap, (value, source))

    def of(self, source: int) -> Instant:
        """Return the earliest instant at which a message of a process may still reach the hub."""
        return self._bounds[source].value

    def smallest(self) -> Instant:
        """Return the earliest instant at which any process's message may still reach the hub."""
        heap, bounds = self._heap, self._bounds
        while heap and heap[0][0] != bounds[heap[0][1]].value:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def tightest(self) -> tuple[int, Instant]:
        """Return the process (source) with the smallest bound, and that bound; safe to call from another thread."""
        source = min(list(self._bounds), key=lambda source: self._bounds[source].value)
        return source, self._bounds[source].value
