"""Branching of a run: its state at one time goes on as a run of a study with other changes or faults from then on.

The router's side takes over what its components would do.  Replicas learn of changes by messages, as they do in a run
that was made with the changes from the start, so the branch and that run send the same ones; of faults they know
beforehand, so they are given other timelines when they are restored (``replica_states.py``).
"""

from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.instant import instant
from cluster_sim.routing.hub import RouterHub
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.simulation import Simulation


def branch(hub: RouterHub, coordinator: Coordinator, recorder: RunRecorder, simulation: Simulation, at_ns: int) -> None:
    """Let a router of which nothing at or after ``at_ns`` has happened go on as that of ``simulation``, which differs
    in its changes and faults from then on alone.
    """
    pools = simulation.pool_facts()[len(hub.membership.pools) :]
    if pools:
        names = [facts.target.pool for facts in pools]
        hub.membership.pools.extend(pools)
        recorder.totals.add_pools(names)
        recorder.log.add_pools(names)
    for component, other in zip(hub.components, simulation.build_components(), strict=True):
        component.branch(other, at_ns)
        hub.observe(component.observation)
    coordinator.branch(instant(at_ns, 0))
