"""Runs on a real Ray cluster whose actors are killed: what they leave is what undisturbed runs leave."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import pytest
import ray

from actors import supervisor
from actors.actor_creation import RunActors
from actors.connection import ray_cluster
from actors.ray_executor import RayExecutor
from cluster_sim.config.schema.run import Run
from cluster_sim.errors import UnfinishedError
from cluster_sim.simulation.executor import RunOutcome, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_snapshot import RunSnapshot, SkippedSnapshotError
from cluster_sim.simulation.simulation import Simulation
from tests.actors.matrix import small_study
from tests.evidence import evidence_of

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small local cluster for all tests of this module."""
    with ray_cluster(None, num_cpus=2):
        yield


@dataclass
class Killer:
    """An ``Executor`` and the checkpoints of its run: takes snapshots, and kills an actor at each of some times."""

    victims: list[str]
    """What is killed next: a group or the router."""
    snapshots_before: list[int]
    """How many snapshots there are before each kill."""
    actors: RunActors | None = None
    resumed: RunSnapshot | None = None
    is_active: bool = True
    taken: list[RunSnapshot] = field(default_factory=list)
    outcome: RunOutcome | None = None

    def is_due(self) -> bool:
        """Return whether the next kill waits for a snapshot."""
        return bool(self.victims) and len(self.taken) < self.snapshots_before[0]

    def keep(self, take: TakeSnapshot) -> None:
        """Keep a snapshot."""
        with suppress(SkippedSnapshotError):
            self.taken.append(take())

    def progress(self, simulated_ns: int, _requests_done: int) -> None:
        """Kill the next victim once its time has come."""
        if not self.victims or len(self.taken) < self.snapshots_before[0] or not simulated_ns:
            return
        assert self.actors is not None
        self.snapshots_before.pop(0)
        victim = self.victims.pop(0)
        ray.kill(self.actors.router if victim == "router" else self.actors.groups[-1])

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end."""
        create = supervisor.create_actors

        def remember(placement: Any) -> RunActors:
            self.actors = create(placement)
            return self.actors

        with mock.patch.object(supervisor, "create_actors", remember):
            executor = RayExecutor(Run(actors=2), None)
            watched = replace(outputs, checkpoints=self, progress=self.progress, monitor=MonitorSettings(speedup=8.0))
            self.outcome = executor.run(simulation, watched)
        return self.outcome


def simulation() -> Simulation:
    """Return a run of 40 simulated seconds, which ``Killer`` paces to 5."""
    study = small_study("least_loaded")
    workload = study.workload.model_copy(update={"count": 1200})
    return replace(make_plan(study.model_copy(update={"workload": workload})).simulation(), keeps_rows=True)


@pytest.mark.parametrize("victims", [["group", "router"], ["router", "group"]])
def test_lost_actors_change_nothing(victims: list[str]) -> None:
    """Killed before the first snapshot and after the second, a run leaves the rows, counters and series of another."""
    expected = evidence_of(InlineExecutor(), simulation())
    killer = Killer(list(victims), [0, 2])
    assert evidence_of(killer, simulation()) == expected
    assert killer.victims == []
    assert killer.outcome is not None
    assert killer.outcome.placement["lost_actors"] == 2
    # What began on Ray goes on in one process.
    resumed = Killer([], [], resumed=killer.taken[-1])
    inline = InlineExecutor().run(simulation(), RunOutputs(checkpoints=resumed))
    assert inline.hub.digest == expected.digest


def test_a_run_without_snapshots_ends_with_its_actor() -> None:
    """Without snapshots the message names the actor that was lost."""
    killer = Killer(["group"], [0], is_active=False)
    with pytest.raises(UnfinishedError, match=r"actor 1 \(replicas .*\) died after"):
        evidence_of(killer, simulation())
