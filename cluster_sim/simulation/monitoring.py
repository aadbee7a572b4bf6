"""Monitoring of a run in the process of its event loop: progress, live snapshots, pacing by the wall clock."""

import time
from typing import Any, Final

import numpy as np

from cluster_sim.engine.coordinator import Traffic
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.metrics.live import (
    NO_ADAPTERS,
    Adapters,
    EngineMembers,
    GenerationMeter,
    LiveSnapshot,
    RequestsLive,
    SpeedMeter,
    TrafficLive,
    opening_snapshot,
)
from cluster_sim.metrics.live_feed import LiveFeed
from cluster_sim.metrics.live_figures import EngineFigures, idle_figures
from cluster_sim.metrics.live_ranks import rank_figures
from cluster_sim.metrics.live_rows import LiveRow
from cluster_sim.routing.hub import RouterHub
from cluster_sim.simulation.fleet_figures import fleet_figures
from cluster_sim.simulation.memory import MemoryWatch
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.simulation.strides import Strides
from cluster_sim.simulation.view import ProgressSink
from cluster_sim.units import NS_PER_S

COUNTERS_S: Final = 60e-6
"""About what collecting one replica's counters takes, wherever that is, and bringing it up to the present."""
PACED_SHARE: Final = 0.1
"""How much of that counts in a paced run, which waits for the wall clock most of the time."""
NAP_S: Final = 0.005
"""How long a paced run sleeps when the wall clock holds it back."""
STRIDE_S: Final = 1.0
"""Wall time of a stride, at least: every replica comes along at its end, whoever watches.  That takes 8 % of the CPU
time of a compiled run of 64 replicas with strides of 0.1 s, 2 % with 0.5 s, and 1 % with these."""


class RunMonitor:
    """The observer of one run; ``feed`` takes its snapshots if there are any."""

    def __init__(
        self,
        settings: MonitorSettings,
        simulation: Simulation,
        hub: RouterHub,
        recorder: RunRecorder,
        progress: ProgressSink,
        feed: LiveFeed | None = None,
        earlier_s: float = 0.0,
    ) -> None:
        """``earlier_s`` is the wall time of a run that is resumed, before: its counters come with the first windows."""
        self._hub = hub
        self._recorder = recorder
        self._progress = progress
        self._speedup = settings.speedup
        self._total = simulation.total_requests
        self._started_s = time.monotonic() - earlier_s
        self._paced_from_s: float | None = None
        self._earlier_s = earlier_s
        self._reached: Instant = 0
        self._paced_at: Instant = -1
        self._memory = MemoryWatch()
        self._is_collecting = False
        self._is_paranoid = simulation.is_paranoid
        self._traffic = Traffic()
        self.feed = feed if settings.is_live else None
        if self.feed is None:
            return
        self._strides = Strides()
        self._speed = SpeedMeter()
        self._generation = GenerationMeter()
        self._members = EngineMembers(simulation.metadata)
        self._figures = idle_figures(simulation.replicas)
        self._adapters: dict[int, Adapters] = {}
        self._ranks = rank_figures(simulation.metadata, self._members)
        if earlier_s:
            self._is_collecting = True
        else:
            opening = opening_snapshot(simulation.metadata, recorder.totals, self._members)
            self.feed.publish(opening if self._ranks is None else self._ranks.shown(opening, recorder.totals))

    def pace(self) -> Instant:
        """Allow as much simulated time as the speed-up grants the wall time so far, napping when nothing moved.

        Without a speed-up a run that is watched goes in strides of some wall time each, so that its clock and its
        counters move on however long nothing happens at the router.
        """
        if self._speedup is None:
            if self.feed is None:
                return NEVER
            limit, has_ended = self._strides.limit(self._reached, time.monotonic())
            # Lazy replicas come along: without it one stride, long after, would have all their work.
            self._is_collecting = self._is_collecting or has_ended
            return limit
        if self._paced_from_s is None:  # The first window: by then the actors of a run on Ray have started.
            self._paced_from_s = time.monotonic() - self._earlier_s
        if self._reached == self._paced_at:
            time.sleep(NAP_S)
        self._paced_at = self._reached
        allowed_s = (time.monotonic() - self._paced_from_s) * self._speedup
        return instant(int(allowed_s * NS_PER_S), Kind.RUN_END)

    def wants_counters(self) -> bool:
        """Ask for counters when somebody asks for a snapshot."""
        self._is_collecting = self._is_collecting or (self.feed is not None and self.feed.is_asked)
        return self._is_collecting

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        """Pass the progress on, take new counters, and publish a snapshot if they were asked for."""
        if self._is_paranoid:
            self._hub.requests.validate()
        self._reached = max(self._reached, clock)  # At the end the router's last event counts again.
        self._progress(time_of(clock), self._hub.arrived - self._hub.in_flight)
        self._memory.look(time_of(clock) / NS_PER_S)
        if self.feed is None:
            return
        if counters:
            self._take(counters)
        if self._is_collecting:
            self._is_collecting = False
            self._hub.settle()  # Work of the run itself, which no snapshot pays for.
            started_s = time.perf_counter()
            snapshot = self._snapshot()
            cost_s = time.perf_counter() - started_s + len(counters) * COUNTERS_S
            self.feed.publish(snapshot, cost_s if self._speedup is None else cost_s * PACED_SHARE)
            self._strides.begin(self._reached, time.monotonic(), max(self.feed.pause_s, STRIDE_S))

    def close(self) -> None:
        """Make no further snapshots."""
        if self.feed is not None:
            self.feed.end()

    def watch(self, traffic: Traffic) -> None:
        """Show the work of the protocol that ``traffic`` counts."""
        self._traffic = traffic

    def _traffic_now(self) -> TrafficLive:
        traffic = self._traffic
        return TrafficLive(traffic.rounds, traffic.windows, traffic.sends, traffic.messages)

    def _take(self, counters: dict[int, LiveRow]) -> None:
        """Take the counters of the replicas that have done something."""
        missing = max(counters) - len(self._figures)
        if missing > 0:
            self._figures = np.concatenate([self._figures, idle_figures(missing)])
        numbers = np.fromiter(counters, np.int64) - 1
        width = self._figures.shape[1]
        memory = b"".join(row[: 8 * width] for row, _ in counters.values())
        self._figures[numbers] = np.frombuffer(memory, np.int64).reshape(-1, width)
        if self._ranks is not None:
            for source, (row, _) in counters.items():
                self._ranks.take(source - 1, np.frombuffer(row, np.int64).reshape(-1, width))
        for source, (_, adapters) in counters.items():
            if adapters != NO_ADAPTERS or source - 1 in self._adapters:
                self._adapters[source - 1] = adapters

    def _come_to_ns(self) -> int:
        """Return the time of which snapshots tell: nothing below it is left, and it is not beyond the run's end."""
        reached_ns, hub = time_of(self._reached), self._hub
        event = hub.next_event()
        if event < NEVER:
            return min(reached_ns, time_of(event))
        return reached_ns if hub.in_flight or not hub.arrived else min(reached_ns, hub.end_ns)

    def _snapshot(self) -> LiveSnapshot:
        """Return what the run shows now; settled, because a request still in flight says how far it has come."""
        simulated_s = self._come_to_ns() / NS_PER_S
        wall_s = time.monotonic() - self._started_s
        done = self._hub.arrived - self._hub.in_flight
        self._recorder.log.refresh_totals()
        self._recorder.totals.reserve(len(self._figures))
        joined = self._hub.joined_pools[: len(self._figures) - self._hub.replicas_at_start]
        groups = self._members.groups(joined)
        engines = EngineFigures(self._figures.copy())
        if groups is not None:
            engines = engines.grouped(groups)
        snapshot = LiveSnapshot(
            simulated_s=simulated_s,
            wall_s=wall_s,
            speedup_ratio=self._speed.measure(wall_s, simulated_s),
            arrived=self._hub.arrived,
            engines=engines,
            requests=RequestsLive.copy_of(self._recorder.totals, groups),
            fleet=fleet_figures(self._hub),
            generation_rates=self._generation.measure(simulated_s, engines),
            traffic=self._traffic_now(),
            completed_ratio=None if not self._total else done / self._total,
            joined_pools=joined,
            adapters=dict(self._adapters),
        )
        return snapshot if self._ranks is None else self._ranks.shown(snapshot, self._recorder.totals)
