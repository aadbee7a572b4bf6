"""Router of a serving run on the actors: the hub with its recorder and its monitor."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cluster_sim.engine.coordinator import Coordinator, Traffic
from cluster_sim.engine.instant import Instant
from cluster_sim.metrics.live_feed import LiveFeed, Published
from cluster_sim.simulation.ending import check_nobody_waits, close_hub, end_of
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.replica_states import members_of
from cluster_sim.simulation.run_recorder import HubResult, RunRecorder
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.run_state import RouterSide, RunStates
from cluster_sim.simulation.simulation import Simulation


class Progress(NamedTuple):
    """How far a run is."""

    simulated_ns: int
    requests_done: int


class ServingRouterRuntime:
    """A ``RouterRuntime`` of a simulation."""

    def __init__(
        self,
        simulation: Simulation,
        requests_path: Path | None,
        monitor: MonitorSettings,
        snapshot: RunSnapshot | None = None,
    ) -> None:
        """``snapshot`` is the state to begin with, if the run has begun before."""
        self._simulation = simulation
        self._states = RunStates(simulation)
        self._snapshot = snapshot
        self._coordinator: Coordinator | None = None
        if snapshot is None:
            self._recorder = RunRecorder(simulation.metadata, requests_path, keeps_rows=simulation.keeps_rows)
            self.hub = simulation.build_hub(self._recorder.log)
        else:
            restored = self._states.restored_router(snapshot, requests_path)
            self.hub, self._coordinator, self._recorder = restored
        self._progress = Progress(0, 0)
        self._feed = LiveFeed()
        earlier_s = 0.0 if snapshot is None else snapshot.wall_s
        progress = self._keep_progress
        self.observer = RunMonitor(monitor, simulation, self.hub, self._recorder, progress, self._feed, earlier_s)

    def _keep_progress(self, simulated_ns: int, requests_done: int) -> None:
        self._progress = Progress(simulated_ns, requests_done)

    def coordinator(self, groups: Sequence[Sequence[int]]) -> Coordinator:
        """Return the coordinator of the hub and all replicas, placed in groups."""
        simulation = self._simulation
        joining = simulation.link_of_joining(len(groups))
        if self._coordinator is None or self._snapshot is None:
            links = simulation.process_links(groups)
            return Coordinator(self.hub, links, simulation.run_end, link_of_joining=joining)
        at_start = simulation.replicas
        pools = {at_start + number + 1: pool for number, pool in enumerate(self.hub.joined_pools)}
        sources = sorted(source for members in self._snapshot.members for source in members)
        delays = {
            source: simulation.pools[pools[source]].delays if source in pools else simulation.pool_of(source - 1).delays
            for source in sources
        }
        self._coordinator.regroup(members_of(groups, sources), delays, joining)
        return self._coordinator

    def state(self, coordinator: Coordinator) -> bytes:
        """Return the state of the hub's side."""
        return self._states.router_state(RouterSide(self.hub, coordinator, self._recorder))

    def end(self) -> Instant:
        """Return the study's own end, or the last thing that a row shows."""
        return end_of(self._simulation.run_end, self.hub)

    def progress(self) -> Progress:
        """Return simulated time and requests done."""
        return self._progress

    def watch(self, traffic: Traffic) -> None:
        """Show the work of the protocol."""
        self.observer.watch(traffic)

    def live(self, known: int) -> Published | None:
        """Return the latest snapshot of the run for live metrics; see ``LiveFeed.latest``."""
        return self._feed.latest(known)

    def close(self, coordinator: Coordinator) -> HubResult:
        """Complete the table of requests; return totals and digest.

        Raises UnfinishedError if requests are left that nothing can end any more.
        """
        self.observer.close()
        check_nobody_waits(self._simulation.run_end, self.hub)
        return close_hub(self.hub, self._recorder, coordinator.traffic, self.end())
