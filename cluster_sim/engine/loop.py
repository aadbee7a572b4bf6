"""Event loop of every executor: hub, windows, replies, until nothing can happen any more."""

from typing import Any, Protocol

from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.group import Group, Reply, Window
from cluster_sim.engine.hub_interface import Hub
from cluster_sim.engine.instant import NEVER, Instant


class ProtocolError(RuntimeError):
    """The protocol cannot go on: a bug, never the user's fault.  Says who waits for whom."""


class Exchange(Protocol):
    """Carries windows to the groups and replies back."""

    def send(self, windows: dict[int, Window]) -> None:
        """Send each group its window."""

    def collect(self) -> list[tuple[int, Reply]]:
        """Return at least one reply, waiting for it if need be."""


class Observer(Protocol):
    """What watches a run from outside (progress, live metrics, pacing); it never changes a result."""

    def pace(self) -> Instant:
        """Return the instant that the wall clock allows by now, sleeping a little if that is what pacing needs."""

    def wants_counters(self) -> bool:
        """Return whether every process's counters should come with the next observation."""

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        """Take the hub's clock, and counters by source if they were asked for."""

    def close(self) -> None:
        """Release whatever the observer holds; the run is over."""


class Unwatched:
    """The observer of a run that nobody watches."""

    def pace(self) -> Instant:
        """Never hold the run back."""
        return NEVER

    def wants_counters(self) -> bool:
        """Never ask for counters."""
        return False

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        """Ignore the clock."""

    def close(self) -> None:
        """Hold nothing."""


class Keeper(Protocol):
    """What keeps the state of a run that goes on; it never changes a result."""

    def is_due(self) -> bool:
        """Return whether the state should be kept now."""

    def keep(self) -> None:
        """Keep the state of all processes; no message is under way."""


class DirectExchange:
    """Groups in this process, called as functions: the inline executor's exchange."""

    def __init__(self, groups: dict[int, Group]) -> None:
        self._groups = groups
        self._replies: list[tuple[int, Reply]] = []

    def send(self, windows: dict[int, Window]) -> None:
        """Step each called group at once."""
        for index, window in windows.items():
            self._replies.append((index, self._groups[index].step(window)))

    def collect(self) -> list[tuple[int, Reply]]:
        """Return the replies of the last windows."""
        replies, self._replies = self._replies, []
        return replies


def run_loop(
    hub: Hub,
    coordinator: Coordinator,
    exchange: Exchange,
    observer: Observer | None = None,
    keeper: Keeper | None = None,
) -> None:
    """Run until the hub and every group have nothing left below the run's end.

    ``keeper`` keeps the run's state now and then.  Raises ProtocolError when nobody can move although something is
    left.
    """
    watcher = observer or Unwatched()
    is_closing = False
    while True:
        pace = watcher.pace()
        wants_counters = watcher.wants_counters()
        if wants_counters:  # Of one time: only groups that owe no reply can be called.
            _absorb_all(coordinator, exchange)
        # With a pace there would be windows up to the run's end for a time in which nothing is left.
        coordinator.pace = NEVER if pace < NEVER and coordinator.is_done else pace
        coordinator.run_hub()
        windows = coordinator.calls(collect_counters=wants_counters)
        if not windows and not coordinator.is_waiting:
            if coordinator.is_done:
                if is_closing:
                    hub.settle()
                    return
                # What nobody waits for, such as the rest of a cancelled request, may still lie with lazy processes.
                is_closing = True
                coordinator.pace = NEVER  # It may be the hub's last event, just now, that has left nothing to pace.
                windows = coordinator.calls(advances_all=True)
            elif coordinator.pace >= NEVER:
                raise ProtocolError("nobody can move: " + coordinator.describe_wait())
        if windows:
            exchange.send(windows)
        hub.settle()
        counters: dict[int, Any] = {}
        if wants_counters:
            counters = _absorb_all(coordinator, exchange)
        elif coordinator.is_waiting:
            _absorb(coordinator, exchange)
        watcher.observe(coordinator.reached, counters)
        if keeper is not None and keeper.is_due():
            _absorb_all(coordinator, exchange)
            keeper.keep()


def _absorb(coordinator: Coordinator, exchange: Exchange) -> dict[int, Any]:
    """Take the replies that are there, waiting for one; return the counters that they bring, by source."""
    counters: dict[int, Any] = {}
    for index, reply in exchange.collect():
        coordinator.absorb(index, reply)
        counters.update(reply.counters or {})
    return counters


def _absorb_all(coordinator: Coordinator, exchange: Exchange) -> dict[int, Any]:
    """Wait until no group owes a reply; return the counters that they bring, by source."""
    counters: dict[int, Any] = {}
    while coordinator.is_waiting:
        counters.update(_absorb(coordinator, exchange))
    return counters
