"""Router of a serving run on the actors: the hub with its recorder and its monitor."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cluster_sim.engine.coordinator import Coordinator, LinkOfJoining, ProcessLink, Traffic
from cluster_sim.engine.instant import Instant
from cluster_sim.metrics.live_feed import LiveFeed, Published
from cluster_sim.simulation.ending import check_nobody_waits, close_hub, end_of
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.run_recorder import HubResult, RunRecorder
from cluster_sim.simulation.simulation import Simulation


class Progress(NamedTuple):
    """How far a run is."""

    simulated_ns: int
    requests_done: int


class ServingRouterRuntime:
    """A ``RouterRuntime`` of a simulation."""

    def __init__(self, simulation: Simulation, requests_path: Path | None, monitor: MonitorSettings) -> None:
        self._simulation = simulation
        self._recorder = RunRecorder(simulation.metadata, requests_path, keeps_rows=simulation.keeps_rows)
        self._progress = Progress(0, 0)
        self.hub = simulation.build_hub(self._recorder.log)
        self.run_end = simulation.run_end
        self._feed = LiveFeed()
        self.observer = RunMonitor(monitor, simulation, self.hub, self._recorder, self._keep_progress, self._feed)

    def _keep_progress(self, simulated_ns: int, requests_done: int) -> None:
        self._progress = Progress(simulated_ns, requests_done)

    def links(self, groups: Sequence[Sequence[int]]) -> list[ProcessLink]:
        """Return the replicas' links, placed in groups."""
        return self._simulation.process_links(groups)

    def link_of_joining(self, groups: int) -> LinkOfJoining:
        """Return the rule for the links of replicas that join."""
        return self._simulation.link_of_joining(groups)

    def end(self) -> Instant:
        """Return the study's own end, or the last thing that a row shows."""
        return end_of(self.run_end, self.hub)

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
        check_nobody_waits(self.run_end, self.hub)
        return close_hub(self.hub, self._recorder, coordinator.traffic, self.end())
