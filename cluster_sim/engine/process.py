"""Contract between a logical process and whatever runs it.

A process is a pure state machine: no I/O, no wall clock, no Ray.  The hub (source 0) exchanges messages with all other
processes, and those only with the hub.  They are numbered from 1 by the configuration, never by placement; those that
join later get the next numbers.
"""

from typing import Any, NamedTuple, Protocol

from cluster_sim.engine.instant import Instant

HUB_SOURCE = 0
"""The hub's source number; process i (counted from 0) has source i + 1."""


class Message(NamedTuple):
    """Something that happens at the receiver at an instant.

    Messages order by their first three fields, which are unique: a process's ``sequence`` is the id of the
    request or batch that it concerns, never a counter of emission, because fast-forwarding and horizons may reorder
    emissions.
    """

    instant: Instant
    source: int
    sequence: int
    payload: Any


class Join(NamedTuple):
    """The first message to a process that joins a run: it is built where its group is, and handles this at its instant.

    Its source is a number that no process has had.
    """

    pool: int
    """Which kind of process, by its position in the configuration."""


class OutputTimes(NamedTuple):
    """Earliest output times (EOT) of a process: guarantees on its next message to the hub, without the return link."""

    conditional: Instant
    """The earliest if nothing more arrives."""
    unconditional: Instant
    """The earliest whatever arrives."""


class LogicalProcess(Protocol):
    """A process at the end of a link of the star, such as a replica."""

    source: int

    def receive(self, message: Message) -> None:
        """Accept a message that lies at or above the process's horizon; anything lower is a protocol error."""

    def advance(self, horizon: Instant) -> list[Message]:
        """Handle every event strictly below ``horizon`` and return the messages to the hub that this commits.

        Returned messages are stamped with their arrival at the hub: the return link is already added.
        """

    def output_times(self) -> OutputTimes:
        """Return the EOTs that hold after the last ``advance``."""

    def next_report(self) -> Instant:
        """Return the earliest instant at which what telemetry reports may change if no message arrives.

        A process whose state already differs from its last report, because it was advanced between two samples,
        returns its horizon: the next sample has to show it.
        """

    def finish(self, end: Instant) -> None:
        """Handle what is left below the run's end, none of which can reach the hub in time."""

    def counters(self) -> Any:
        """Return cumulative counters for live metrics: plain data, or what the group's collector takes."""

    def activity(self) -> Any:
        """Return something cheap that differs whenever the counters do."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, state: bytes) -> None:
        """Take back a state returned by ``snapshot``."""
