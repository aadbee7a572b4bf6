"""Monitoring of a run in the process of its event loop: progress, live metrics, pacing by the wall clock."""

import time
from typing import Any, Final

from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.live import LiveSnapshot, ReplicaLive, RequestsLive, SpeedMeter, idle_replica
from cluster_sim.metrics.server import MetricsServer
from cluster_sim.routing.hub import RouterHub
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.resources import MemoryWatch
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.simulation.view import ProgressSink
from cluster_sim.units import NS_PER_S

FLUSH_INTERVAL_S: Final = 1.0
"""Wall seconds between two snapshots for live metrics."""
NAP_S: Final = 0.005
"""How long a paced run sleeps when the wall clock holds it back."""


class RunMonitor:
    """The observer of one run."""

    def __init__(
        self,
        settings: MonitorSettings,
        simulation: Simulation,
        hub: RouterHub,
        recorder: RunRecorder,
        progress: ProgressSink,
        earlier_s: float = 0.0,
    ) -> None:
        """``earlier_s`` is the wall time of a run that is resumed, before: its counters come with the first windows."""
        self._hub = hub
        self._recorder = recorder
        self._progress = progress
        self._speedup = settings.speedup
        self._total = simulation.total_requests
        self._started_s = time.monotonic() - earlier_s
        self._flushed_s = time.monotonic() if not earlier_s else 0.0
        self._clock: Instant = 0
        self._paced_at: Instant = -1
        self._meter = SpeedMeter()
        self._memory = MemoryWatch()
        self._replicas = [idle_replica()] * simulation.replicas
        self._server: MetricsServer | None = None
        if settings.metrics_port is not None:
            exposition = Exposition(simulation.metadata, settings.labels)
            self._server = MetricsServer(settings.metrics_port, exposition)
            if not earlier_s:
                self._publish()

    def pace(self) -> Instant:
        """Allow as much simulated time as the speed-up grants the wall time so far, napping when nothing moved."""
        if self._speedup is None:
            return NEVER
        if self._clock == self._paced_at:
            time.sleep(NAP_S)
        self._paced_at = self._clock
        allowed_s = (time.monotonic() - self._started_s) * self._speedup
        return instant(int(allowed_s * NS_PER_S), Kind.RUN_END)

    def wants_counters(self) -> bool:
        """Ask for counters once a second while somebody may scrape them."""
        if self._server is None or time.monotonic() - self._flushed_s < FLUSH_INTERVAL_S:
            return False
        self._flushed_s = time.monotonic()
        return True

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        """Pass the progress on and publish new counters."""
        self._clock = clock
        self._progress(time_of(clock), self._hub.arrived - self._hub.in_flight)
        self._memory.look(time_of(clock) / NS_PER_S)
        if counters and self._server is not None:
            joined = max(counters) - len(self._replicas)
            self._replicas += [idle_replica()] * joined
            for source, values in counters.items():
                self._replicas[source - 1] = ReplicaLive(*values)
            self._publish()

    def close(self) -> None:
        """Stop serving metrics."""
        if self._server is not None:
            self._server.close()

    def _publish(self) -> None:
        assert self._server is not None
        simulated_s = time_of(self._clock) / NS_PER_S
        wall_s = time.monotonic() - self._started_s
        done = self._hub.arrived - self._hub.in_flight
        self._recorder.log.refresh_totals()
        joined = self._hub.joined_pools[: len(self._replicas) - self._hub.replicas_at_start]
        self._recorder.totals.reserve(len(self._replicas))
        self._server.publish(
            LiveSnapshot(
                simulated_s=simulated_s,
                wall_s=wall_s,
                speedup_ratio=self._meter.measure(wall_s, simulated_s),
                arrived=self._hub.arrived,
                replicas=list(self._replicas),
                requests=RequestsLive.copy_of(self._recorder.totals),
                completed_ratio=None if not self._total else done / self._total,
                joined_pools=joined,
            )
        )
