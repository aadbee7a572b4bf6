"""States of replicas as bytes, and the replicas made of them again; needs nothing of the router's side."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from cluster_sim.engine.group import Group, LinkDelays
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph
from cluster_sim.snapshot.names import outside_packages


class ReplicaStates:
    """Writes and reads the states of one simulation's replicas."""

    def __init__(self, simulation: Simulation, others: frozenset[str] = frozenset()) -> None:
        """``others`` are packages beside the project and those with parts for it whose objects may be in a state."""
        self.simulation = simulation
        self._packages = others

    @cached_property
    def externals(self) -> Externals:
        """What the states refer to: all that hangs on the simulation."""
        externals = Externals(self._packages | outside_packages())
        kernel = self.simulation.kernel
        externals.add("kernel", kernel)
        externals.add_all("simulation", self.simulation)
        for pool in self.simulation.pools:
            kernel.of((pool.predictor, pool.scheduler))
        for original, copy in kernel.copies():
            externals.stand_in(original, copy)
        return externals

    def group_state(self, group: Group) -> bytes:
        """Return the state of a group's replicas with their links."""
        return encode_graph({"replicas": group.processes, "delays": group.delays}, self.externals)

    def restored_replicas(self, states: Iterable[bytes]) -> dict[int, tuple[Replica, LinkDelays]]:
        """Return the replicas of several states with their links by source, in the order of their numbers."""
        found: dict[int, tuple[Replica, LinkDelays]] = {}
        for state in states:
            externals = self.externals.copy()
            externals.is_compiled = self.simulation.kernel.name == "compiled"
            roots = decode_graph(state, externals)
            self._set_timelines(roots["replicas"].values())
            found |= {source: (replica, roots["delays"][source]) for source, replica in roots["replicas"].items()}
        return dict(sorted(found.items()))

    def _set_timelines(self, replicas: Iterable[Replica]) -> None:
        """Give replicas the faults of this simulation, which may branch off from the one that they are of."""
        timeline_of = self.simulation.timeline_of
        if timeline_of is None:
            return
        for replica in replicas:
            settings = replica.settings
            replica.set_timeline(timeline_of(settings.index, settings.pool, settings.is_joining))


def members_of(groups: Sequence[Sequence[int]], sources: Iterable[int]) -> dict[int, list[int]]:
    """Return the sources of each group: the replicas that it began with, and its share of those that have joined."""
    members = {number: [index + 1 for index in indices] for number, indices in enumerate(groups)}
    placed = {source for sources in members.values() for source in sources}
    for source in sources:
        if source not in placed:
            members[(source - 1) % len(members)].append(source)
    return members
