"""Ray executor: places a simulation's replicas on actors, runs them, and gathers their results."""

from array import array
from collections.abc import Sequence
from typing import Any, Final

from actors.actor_creation import LostActorError
from actors.cluster_size import await_cpus
from actors.connection import ray_cluster
from actors.node_watch import await_removal
from actors.placement import Placement, place
from actors.run_lives import RunLives
from actors.serving_group_runtime import GroupResult
from actors.serving_run import ServingRun
from actors.stage_actor import StageCounts
from actors.supervisor import RayRunResult, run_actors
from actors.task_group import group_actors, own_group
from cluster_sim.config.schema.run import Run
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.executor import ReplicaResult, RunOutcome, RunOutputs
from cluster_sim.simulation.simulation import Simulation

REMOVAL_S: Final = 60.0
"""How long Ray may take to find out that a node is gone."""


class RayExecutor:
    """Runs simulations on the Ray cluster at ``address``, or on a local one that it starts and stops (None)."""

    def __init__(self, settings: Run, address: str | None = None, min_cpus: float | None = None) -> None:
        """``min_cpus`` are the CPUs that the cluster must have before anything is placed."""
        self._settings = settings
        self._address = address
        self._min_cpus = min_cpus

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end.

        Raises InputError if no cluster answers or an actor cannot read what the study names, UnfinishedError if the run
        cannot go on.
        """
        settings = self._settings
        stages = self._stages(simulation)
        lives = RunLives(outputs)
        path = None if outputs.requests_path is None else outputs.requests_path.resolve()
        with ray_cluster(self._address):
            wanted = self._min_cpus
            while True:
                cpus = await_cpus(wanted)
                group = own_group()
                groups = place(
                    simulation.replicas,
                    sum(cpus),
                    settings.replicas_per_actor,
                    settings.actors if group is None else group_actors(group),
                    settings.placement_seed,
                )
                spec = ServingRun(simulation, path, outputs.monitor, lives.snapshot, groups)
                try:
                    result = run_actors(spec, Placement(groups, stages, settings.port_range), lives.observer())
                    break
                except LostActorError as error:
                    lives.begin_again(error)
                    wanted = None  # The run goes on with what is left.
                    await_removal(error.nodes, REMOVAL_S)
        lives.finish()
        result = result._replace(wall_s=result.wall_s + lives.earlier_s)
        placement = {
            "actors": len(groups),
            "replicas_per_actor": max(map(len, groups)),
            "placement_seed": settings.placement_seed,
            "stage_actors": len(groups) * stages,
            "nodes": len(cpus),
            "cpus": sum(cpus),
            "dropped_frames": result.dropped_frames,
            "lost_actors": lives.losses,
        }
        return _outcome(result, placement)

    def _stages(self, simulation: Simulation) -> int:
        """Return how many stages a chain of stage actors has; 0 if stages are fused or replicas have only one.

        Raises InputError if pools differ in their stages: one chain serves all replicas of an actor.
        """
        if self._settings.stages == "fused":
            return 0
        depths = sorted({pool.limits.pipeline_parallel for pool in simulation.pools})
        if len(depths) > 1:
            raise InputError(
                f"run.stages: actors needs the same pipeline_parallel in every pool, the pools have {depths}; use fused"
            )
        return depths[0] if depths[0] > 1 else 0


def _outcome(result: RayRunResult, placement: dict[str, Any]) -> RunOutcome:
    groups: list[GroupResult] = result.groups
    by_index = {
        index: ReplicaResult(counters, gaps, coverage, ranks)
        for group in groups
        for index, counters, gaps, coverage, ranks in group.replicas
    }
    replicas = [by_index[index] for index in sorted(by_index)]
    _compare_stages(replicas, result.stages)
    streams: dict[int, tuple[int, Sequence[int]]] = {
        index: (stages, array("q", flat)) for group in groups for index, stages, flat in group.streams
    }
    return RunOutcome(result.hub, replicas, result.wall_s, placement, streams or None, result.work)


def _compare_stages(replicas: list[ReplicaResult], stages: list[StageCounts]) -> None:
    """Check that the stage actors were busy exactly as long as the replicas' own recurrence says."""
    for counts in stages:
        counters = replicas[counts.replica - 1].counters
        busy_ns = counters.busy_ns[counts.stage] + counters.overrun_ns[counts.stage]
        if busy_ns != counts.busy_ns:
            raise UnfinishedError(
                f"stage {counts.stage} of replica {counts.replica - 1} was busy {counts.busy_ns} ns in its actor and "
                f"{busy_ns} ns in the replica"
            )
