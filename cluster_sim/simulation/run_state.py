"""State of a run at a window edge, as bytes, and the processes made of it again.

At an edge no message is under way, so the states of the hub and of all replicas fit together.  They do not hold what
the study decides (the ``Simulation``) nor the source of the requests, which whoever restores them builds anew; nor do
they depend on placement: replicas may be spread over other groups than before.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.output.request_table import RequestTable
from cluster_sim.routing.hub import RouterHub
from cluster_sim.simulation.branching import branch
from cluster_sim.simulation.replica_states import ReplicaStates, members_of
from cluster_sim.simulation.run_recorder import RunRecorder, request_table
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.simulation import Processes, ReplicaBuilder
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph
from cluster_sim.snapshot.names import SnapshotError
from cluster_sim.workload.source import FeedbackSource, ResumableSource


class RouterSide(NamedTuple):
    """The processes and records in the router's process."""

    hub: RouterHub
    coordinator: Coordinator
    recorder: RunRecorder


class RunStates(ReplicaStates):
    """Writes and reads the states of one simulation's processes."""

    def router_state(self, router: RouterSide) -> bytes:
        """Return the state of the router's side; raise SnapshotError if it holds what no snapshot can hold."""
        workload, table = router.hub.workload, router.recorder.table
        if table is not None:
            table.end_part()
        externals = self._with_source(workload, table)
        own = None
        if isinstance(workload, FeedbackSource):
            if not isinstance(workload, ResumableSource):
                raise SnapshotError(f"the source {type(workload).__qualname__} has no snapshot and restore")
            own = workload.snapshot()
        written = None if table is None else table.snapshot()
        return encode_graph({"router": router, "source": own, "table": written}, externals)

    def restored_router(self, snapshot: RunSnapshot, requests_path: Path | None) -> RouterSide:
        """Return the router's side; its rows go to the table at ``requests_path`` from now on."""
        table = None if requests_path is None else request_table(requests_path, self.simulation.metadata)
        workload = self.simulation.source()
        roots = decode_graph(snapshot.router, self._with_source(workload, table))
        if isinstance(workload, ResumableSource):
            workload.restore(roots["source"])
        if table is not None:
            table.restore(roots["table"])
        router: RouterSide = roots["router"]
        if snapshot.branches_at_ns >= 0:
            branch(router.hub, router.coordinator, router.recorder, self.simulation, snapshot.branches_at_ns)
        return router

    def restored_processes(
        self, router: RouterSide, states: Iterable[bytes], groups: Sequence[Sequence[int]] | None
    ) -> Processes:
        """Return all processes in this one; ``groups`` lists the replicas of each group as when the run began."""
        simulation, found = self.simulation, self.restored_replicas(states)
        placement = members_of([range(simulation.replicas)] if groups is None else groups, found)
        delays = {source: links for source, (_, links) in found.items()}
        replicas = [replica for replica, _ in found.values()]
        for replica in replicas:
            replica.stream(is_streamed=simulation.keeps_streams)
        build = ReplicaBuilder(simulation, router.hub.first_observation, replicas)
        built = {
            number: simulation.group(
                [found[source][0] for source in sources],
                router.hub.observation,
                build,
                {source: delays[source] for source in sources},
            )
            for number, sources in placement.items()
        }
        router.coordinator.regroup(placement, delays, simulation.link_of_joining(len(placement)))
        return Processes(router.hub, replicas, built, router.coordinator)

    def _with_source(self, workload: object, table: RequestTable | None) -> Externals:
        externals = self.externals.copy()
        externals.add("source", workload)
        if table is not None:
            externals.add("table", table)
        return externals
