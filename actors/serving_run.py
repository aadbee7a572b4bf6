"""A serving simulation on the actors.

An actor imports only its own part: tables and live metrics stay out of the replicas' actors, which pay for each import
with time and memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.codec import Codec
from actors.run_spec import ReplicaGroupRuntime, RouterRuntime
from actors.serving_codec import serving_codec
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.simulation import Simulation


@dataclass(frozen=True, slots=True)
class ServingRun:
    """A ``RunSpec`` of a simulation; large tables in its predictors are read in place from the object store."""

    simulation: Simulation
    requests_path: Path | None
    """The table of requests that the router writes."""
    monitor: MonitorSettings

    def codec(self) -> Codec:
        """Return the codec of dispatches, outcomes and samples."""
        return serving_codec()

    def router_runtime(self) -> RouterRuntime:
        """Build the hub with its recorder and monitor."""
        from actors.router_runtime import ServingRouterRuntime

        return ServingRouterRuntime(self.simulation, self.requests_path, self.monitor)

    def group_runtime(self, indices: Sequence[int], *, is_staged: bool) -> ReplicaGroupRuntime:
        """Build a group of replicas."""
        from actors.serving_group_runtime import ServingGroupRuntime

        return ServingGroupRuntime(self.simulation, indices, is_staged=is_staged)
