"""A serving simulation on the actors.

An actor imports only its own part: tables and live metrics stay out of the replicas' actors, which pay for each import
with time and memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.codec import Codec
from actors.run_spec import ReplicaGroupRuntime, RouterRuntime
from actors.serving_codec import serving_codec
from cluster_sim.engine.group import LinkDelays
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.replica_states import ReplicaStates, members_of
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.simulation import Simulation


@dataclass(frozen=True, slots=True)
class ServingRun:
    """A ``RunSpec`` of a simulation; large tables in its predictors are read in place from the object store."""

    simulation: Simulation
    requests_path: Path | None
    """The table of requests that the router writes."""
    monitor: MonitorSettings
    snapshot: RunSnapshot | None = None
    """The state to begin with, if the run has begun before."""
    groups: Sequence[Sequence[int]] = ()
    """The replicas (indices from 0) of every group, where there is a snapshot."""

    def codec(self) -> Codec:
        """Return the codec of dispatches, outcomes and samples."""
        return serving_codec()

    def router_runtime(self) -> RouterRuntime:
        """Build the hub with its recorder and monitor."""
        from actors.router_runtime import ServingRouterRuntime

        return ServingRouterRuntime(self.simulation, self.requests_path, self.monitor, self.snapshot)

    def group_runtime(self, indices: Sequence[int], *, is_staged: bool) -> ReplicaGroupRuntime:
        """Build a group of replicas."""
        from actors.serving_group_runtime import ServingGroupRuntime

        return ServingGroupRuntime(self.simulation, indices, is_staged=is_staged, restored=self._restored(indices))

    def _restored(self, indices: Sequence[int]) -> Mapping[int, tuple[Replica, LinkDelays]] | None:
        """Return the replicas of the group that began with ``indices``, read from the states that hold any."""
        if self.snapshot is None:
            return None
        sources = [source for members in self.snapshot.members for source in members]
        number = next(number for number, members in enumerate(self.groups) if list(members) == list(indices))
        mine = set(members_of(self.groups, sources)[number])
        states = [
            state
            for state, members in zip(self.snapshot.groups, self.snapshot.members, strict=True)
            if mine.intersection(members)
        ]
        found = ReplicaStates(self.simulation).restored_replicas(states)
        return {source: replica for source, replica in found.items() if source in mine}
