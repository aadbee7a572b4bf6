"""Branching of a run: its state at one time goes on as a run of a study with other changes from then on.

Only the router's side is touched.  Replicas learn of everything by messages, as they do in a run that was made with the
changes from the start, so the branch and that run send the same ones.
"""

from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.routing.hub import RouterHub
from cluster_sim.routing.scaling.fleet_control import ChangeDue, FleetControl
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.simulation import Simulation


def branch(hub: RouterHub, coordinator: Coordinator, recorder: RunRecorder, simulation: Simulation, at_ns: int) -> None:
    """Let a router of which nothing at or after ``at_ns`` has happened go on as that of ``simulation``, which differs
    in its changes from then on alone.
    """
    (control,) = (component for component in hub.components if isinstance(component, FleetControl))
    (other,) = (component for component in simulation.build_components() if isinstance(component, FleetControl))
    pools = simulation.pool_facts()[len(hub.membership.pools) :]
    if pools:
        names = [facts.target.pool for facts in pools]
        hub.membership.pools.extend(pools)
        recorder.totals.add_pools(names)
        recorder.log.add_pools(names)
    hub.events.forget(ChangeDue)
    control.branch(other, at_ns)
    hub.observe(control.observation)
    coordinator.observe()
