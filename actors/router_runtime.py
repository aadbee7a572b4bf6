"""The router's side of a serving study on the actors: the hub with its books and live metrics."""

from collections.abc import Sequence
from typing import NamedTuple

from actors.replica_group_runtime import StudyData
from actors.run_spec import RunSpec
from cluster_sim.engine.coordinator import Coordinator, ProcessLink
from cluster_sim.engine.instant import Instant
from cluster_sim.simulation.composition import build_hub, process_links
from cluster_sim.simulation.ending import check_nobody_waits, close_hub, end_of
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.run_recorder import HubResult, RunRecorder


class Progress(NamedTuple):
    """How far a run is."""

    simulated_ns: int
    requests_done: int


class ServingRouterRuntime:
    """The router with its books; a ``RouterRuntime``."""

    def __init__(self, data: StudyData) -> None:
        metadata = data.plan.metadata(data.predictors)
        self._plan, self._predictors = data.plan, data.predictors
        self._books = RunRecorder(metadata, data.requests_path)
        self._progress = Progress(0, 0)
        self.hub = build_hub(data.plan, self._books.log)
        self.run_end = data.plan.run_end
        self.observer = RunMonitor(
            metadata,
            self.hub,
            self._books.log,
            self._note,
            data.metrics_port,
            data.speedup,
            data.labels,
            data.total_requests,
        )

    def _note(self, simulated_ns: int, requests_done: int) -> None:
        self._progress = Progress(simulated_ns, requests_done)

    def links(self, groups: Sequence[Sequence[int]]) -> list[ProcessLink]:
        """Return the replicas' links, placed in groups."""
        group_of = {replica: group for group, members in enumerate(groups) for replica in members}
        return process_links(self._plan, self._predictors, [group_of[each] for each in range(self._plan.replicas)])

    def end(self) -> Instant:
        """Return the study's own end, or the last thing that a row shows."""
        return end_of(self.run_end, self.hub)

    def progress(self) -> Progress:
        """Return simulated time and requests done."""
        return self._progress

    def close(self, coordinator: Coordinator) -> HubResult:
        """Complete the table of requests; return totals and digest.

        Raises UnfinishedError where requests are left that nothing can end any more.
        """
        self.observer.close()
        check_nobody_waits(self.run_end, self.hub)
        return close_hub(self.hub, self._books, coordinator.traffic, self.end())


def serving_run_spec(data: StudyData) -> RunSpec:
    """Return the cast of a serving study."""
    return RunSpec(
        "actors.router_runtime:ServingRouterRuntime",
        "actors.replica_group_runtime:ServingGroupRuntime",
        "actors.messages_as_columns:serving_codec",
        data,
    )
