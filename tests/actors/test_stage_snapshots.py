"""Snapshots of runs whose pipeline stages are actors: they hold nothing of the stages, which go on all the same."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.network import LocalNetwork
from actors.ray_executor import RayExecutor
from cluster_sim.config.schema.run import Run
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.executor import Executor, NoCheckpoints, RunOutcome, RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.simulation import Simulation
from tests.actors.matrix import small_study
from tests.actors.threaded_run import ThreadedRun
from tests.evidence import evidence_of


@dataclass
class Resumed(NoCheckpoints):
    """Goes on from one snapshot."""

    resumed: RunSnapshot | None


@dataclass
class ResumingExecutor:
    """An ``Executor`` that goes on from a snapshot with another one."""

    inner: Executor
    snapshot: RunSnapshot

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end."""
        return self.inner.run(simulation, replace(outputs, checkpoints=Resumed(self.snapshot)))


def simulation(study: Study) -> Simulation:
    """Return the study's run, which keeps its rows and streams."""
    return replace(make_plan(study).simulation(), keeps_rows=True)


def left_by(executor: Executor, run: Simulation) -> tuple[Any, ...]:
    """Return what a run leaves that does not lie in its series, whose first rows were handed on before a snapshot."""
    evidence = evidence_of(executor, run)
    return evidence.digest, evidence.replicas, evidence.rows, evidence.coverage


def test_what_began_on_stage_actors_goes_on_anywhere(tmp_path: Path) -> None:
    """From each of two snapshots a run goes on with other stage actors, with fused stages, and in one process."""
    study = small_study("least_loaded", pipeline_parallel=2)
    expected = left_by(InlineExecutor(), simulation(study))
    threads = ThreadedRun(LocalNetwork(str(tmp_path)), most_snapshots=2)
    with threads.in_place_of_ray():
        assert left_by(RayExecutor(Run(stages="actors", actors=3)), simulation(study)) == expected
        assert len(threads.snapshots) == 2
        for snapshot in threads.snapshots.copy():
            assert left_by(ResumingExecutor(InlineExecutor(), snapshot), simulation(study)) == expected
            for settings in (Run(stages="actors", actors=2), Run(stages="fused", actors=1)):
                assert left_by(ResumingExecutor(RayExecutor(settings), snapshot), simulation(study)) == expected


def test_stage_actors_go_on_from_fused_stages(tmp_path: Path) -> None:
    """What began without stage actors, in fast-forwards, goes on with them."""
    study = small_study("least_outstanding", pipeline_parallel=2)
    expected = left_by(InlineExecutor(), simulation(study))
    threads = ThreadedRun(LocalNetwork(str(tmp_path)), most_snapshots=2)
    with threads.in_place_of_ray():
        assert left_by(RayExecutor(Run(actors=2)), simulation(study)) == expected
        for snapshot in threads.snapshots.copy():
            resumed = ResumingExecutor(RayExecutor(Run(stages="actors", actors=3)), snapshot)
            assert left_by(resumed, simulation(study)) == expected


def test_streams_are_whole_after_a_snapshot(tmp_path: Path) -> None:
    """The stage stream of a run that keeps it is that of an undisturbed run, with stage actors before and after."""
    study = small_study("least_loaded", pipeline_parallel=2)

    def streams(executor: Executor) -> dict[int, tuple[int, list[int]]]:
        found = executor.run(replace(simulation(study), keeps_streams=True), RunOutputs()).streams
        assert found is not None
        return {index: (stages, list(flat)) for index, (stages, flat) in found.items()}

    expected = streams(InlineExecutor())
    threads = ThreadedRun(LocalNetwork(str(tmp_path)), most_snapshots=1)
    with threads.in_place_of_ray():
        assert streams(RayExecutor(Run(stages="actors", actors=2))) == expected
        for snapshot in threads.snapshots.copy():
            assert streams(ResumingExecutor(InlineExecutor(), snapshot)) == expected
            staged = RayExecutor(Run(stages="actors", actors=3))
            assert streams(ResumingExecutor(staged, snapshot)) == expected
