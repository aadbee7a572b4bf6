"""Feed of live snapshots, from the event loop that makes them to the threads that serve them.

Snapshots are made when somebody asks, and no more often than a share of the run's time pays for: a run that nobody
watches pays nothing, a run that is scraped a hundred times a second no more than one that is scraped once.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from cluster_sim.metrics.live import LiveSnapshot, TrafficLive
from cluster_sim.metrics.live_progress import Counts, are_below, counts_of, not_below

SHARE: Final = 0.02
"""Share of the run's wall time that snapshots may take."""
FRESH_S: Final = 0.1
"""Age up to which a snapshot is served to whoever asks, at least."""
WAIT_S: Final = 0.5
"""How long a scrape waits for the event loop to make a newer one."""


class Published(NamedTuple):
    """A snapshot with its number, by which readers know what they have."""

    serial: int
    snapshot: LiveSnapshot


class LiveFeed:
    """Holds the latest snapshot; the event loop publishes, any thread reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._latest: Published | None = None
        self._published_s = 0.0
        self._pause_s = FRESH_S
        self._is_asked = False
        self._is_over = False
        self.floor_s = 0.0
        """Simulated time below which no snapshot is served, that of the latest one at least: a run that goes back to an
        earlier state lets no counter fall."""
        self.least_traffic = TrafficLive()
        """Least of each count of the protocol's work that is served: a run that goes back takes other windows."""
        self.least_counts: Counts | None = None
        """Least of the other counts of the first snapshot, where another process has served some before."""
        self._is_catching_up = False

    @property
    def is_asked(self) -> bool:
        """Whether the event loop should make a snapshot now."""
        return self._is_asked and self._clock() - self._published_s >= self._pause_s

    @property
    def pause_s(self) -> float:
        """Wall seconds between two snapshots, at least."""
        return self._pause_s

    @property
    def wait_s(self) -> float:
        """Wall seconds until the event loop may make a newer snapshot."""
        return max(0.0, self._published_s + self._pause_s - self._clock())

    def publish(self, snapshot: LiveSnapshot, cost_s: float = 0.0, *, is_last: bool = False) -> None:
        """Make ``snapshot``, which must not change any more, the latest one; it took ``cost_s`` of the run's time."""
        with self._condition:
            self._published_s = self._clock()
            if not is_last and (snapshot.simulated_s < self.floor_s or self._is_short(snapshot)):
                return
            self._is_catching_up = False
            shown = self._shown
            if is_last and shown is not None and are_below(counts_of(snapshot), shown):
                snapshot = not_below(snapshot, shown)
            self.least_counts = None
            traffic = TrafficLive(*map(max, snapshot.traffic, self.least_traffic))
            if traffic != snapshot.traffic:
                snapshot = replace(snapshot, traffic=traffic)
            self.least_traffic = traffic
            self.floor_s = snapshot.simulated_s
            serial = 0 if self._latest is None else self._latest.serial + 1
            self._latest = Published(serial, snapshot)
            self._pause_s = max(FRESH_S, cost_s / SHARE)
            self._is_asked = False
            self._is_over = self._is_over or is_last
            self._condition.notify_all()

    def catch_up(self) -> None:
        """Take in that the run goes on from an earlier state: the latest snapshot stays until no count falls."""
        with self._condition:
            self._is_catching_up = True

    @property
    def _shown(self) -> Counts | None:
        """What has been shown so far, here or by the process before; None if nothing has."""
        return self.least_counts if self._latest is None else counts_of(self._latest.snapshot)

    def _is_short(self, snapshot: LiveSnapshot) -> bool:
        if self._latest is not None and not self._is_catching_up:
            return False
        shown = self._shown
        return shown is not None and are_below(counts_of(snapshot), shown)

    def latest(self, known: int = -1) -> Published | None:
        """Return the latest snapshot, after a short wait for a newer one if it has aged; None before the first.

        None as well if it is the one with the number ``known``.
        """
        with self._condition:
            if not self._is_over and self._clock() - self._published_s >= self._pause_s:
                before = self._latest
                self._is_asked = True
                self._condition.wait_for(lambda: self._is_over or self._latest is not before, WAIT_S)
        return self.held(known)

    def held(self, known: int = -1) -> Published | None:
        """Return the latest snapshot as ``latest`` does, without a wait."""
        with self._condition:
            latest = self._latest
        return None if latest is None or latest.serial == known else latest

    def charge(self, cost_s: float) -> None:
        """Make the next pause longer by what handing on this snapshot has taken of the run's time."""
        with self._condition:
            self._pause_s += cost_s / SHARE

    def end(self) -> None:
        """Let nobody wait any more: no further snapshot comes from an event loop."""
        with self._condition:
            self._is_over = True
            self._condition.notify_all()


Fetch = Callable[[int], Published | None]
"""Returns the latest snapshot of a feed in another process, as ``LiveFeed.latest`` does."""


class LiveSource:
    """The snapshots of one run for its server: of a feed in this process, or in the process of the event loop.

    All pass through the feed in this process, which outlives the other: a run that goes on after a loss has a new one.
    ``finish`` replaces both by the snapshot of the finished run.
    """

    def __init__(self) -> None:
        self.feed = LiveFeed()
        self._fetch: Fetch | None = None
        self._fetched = -1
        """Number of the latest snapshot in the other process."""
        self._lock = threading.Lock()

    def connect(self, fetch: Fetch) -> None:
        """Take the snapshots from the event loop's process from now on."""
        with self._lock:
            self._fetch, self._fetched = fetch, -1
            self.feed.catch_up()

    def disconnect(self) -> None:
        """Ask the event loop's process for nothing more: it ends."""
        with self._lock:
            self._fetch = None

    def latest(self, known: int = -1) -> Published | None:
        """Return the latest snapshot; see ``LiveFeed.latest``."""
        with self._lock:
            fetch = self._fetch
            if fetch is None:
                return self.feed.latest(known)
            published = fetch(self._fetched)
            if published is not None:
                self._fetched = published.serial
                self.feed.publish(published.snapshot)
        return self.feed.held(known)

    @property
    def wait_s(self) -> float:
        """Wall seconds until a newer snapshot can be had."""
        return self.feed.wait_s

    def charge(self, cost_s: float) -> None:
        """Note what handing on a snapshot has taken; it takes nothing of a run in another process."""
        if self._fetch is None:
            self.feed.charge(cost_s)

    def finish(self, snapshot: LiveSnapshot) -> None:
        """Serve the snapshot of the finished run from now on."""
        self.disconnect()
        self.feed.publish(snapshot, is_last=True)
