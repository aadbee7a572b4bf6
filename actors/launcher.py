"""Runs a planned study on Ray: what ``cluster_sim.simulation.launcher`` calls."""

from pathlib import Path
from typing import Any, NamedTuple

from actors.actor_creation import Staging, cluster_cpus
from actors.connection import ray_cluster
from actors.placement import place
from actors.replica_group_runtime import GroupResult, StudyData
from actors.router_actor import RouterStatus
from actors.router_runtime import serving_run_spec
from actors.stage_actor import StageBook
from actors.supervisor import RayRunResult, Watcher, run_actors
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.simulation.composition import observation_of
from cluster_sim.simulation.inline import ReplicaResult, RunOutcome, SeriesSink
from cluster_sim.simulation.plan import Plan
from cluster_sim.simulation.view import ProgressSink
from cluster_sim.workload.build import total_requests


class RayRun(NamedTuple):
    """A finished run on Ray."""

    outcome: RunOutcome
    placement: dict[str, Any]
    """What the manifest says of it."""
    wall_s: float
    """Of the simulation itself, without the start of Ray and the actors."""


def run_on_ray(
    plan: Plan,
    predictors: list[Predictor],
    *,
    address: str | None,
    requests_path: Path | None,
    series: SeriesSink,
    progress: ProgressSink,
    labels: dict[str, str],
    metrics_port: int | None = None,
    speedup: float | None = None,
) -> RayRun:
    """Run a plan on the Ray cluster at ``address``, or on a local one that is started and stopped here.

    Raises InputError where no cluster answers or an actor cannot read what the study names, UnfinishedError where the
    run cannot go on.
    """
    stages = staged_depth(plan)
    run = plan.study.run
    data = study_data(plan, predictors, requests_path, labels, metrics_port, speedup)

    def show(status: RouterStatus) -> None:
        progress(status.progress.simulated_ns, status.progress.requests_done)

    def keep(notes: list[tuple[int, dict[str, Any]]]) -> None:
        for replica, columns in notes:
            series(replica, columns)

    with ray_cluster(address):
        cpus = cluster_cpus()
        groups = place(plan.replicas, sum(cpus), run.replicas_per_actor, run.actors, run.placement_seed)
        done = run_actors(serving_run_spec(data), Staging(groups, stages, run.port_range), Watcher(show, keep))
    placement = {
        "actors": len(groups),
        "replicas_per_actor": max(map(len, groups)),
        "placement_seed": run.placement_seed,
        "stage_actors": len(groups) * stages,
        "nodes": len(cpus),
        "cpus": sum(cpus),
    }
    return RayRun(_outcome(plan, done), placement, done.wall_s)


def staged_depth(plan: Plan) -> int:
    """Return how many stages a chain of stage actors has; 0 where stages are fused or replicas have only one.

    Raises InputError where pools differ in their stages: one chain serves all replicas of an actor.
    """
    if plan.study.run.stages == "fused":
        return 0
    depths = sorted({each.pool.pipeline_parallel for each in plan.pools})
    if len(depths) > 1:
        raise InputError(
            f"run.stages: actors needs the same pipeline_parallel in every pool, the pools have {depths}; use fused"
        )
    return depths[0] if depths[0] > 1 else 0


def study_data(
    plan: Plan,
    predictors: list[Predictor],
    requests_path: Path | None,
    labels: dict[str, str],
    metrics_port: int | None = None,
    speedup: float | None = None,
) -> StudyData:
    """Return what every actor of a study gets."""
    return StudyData(
        plan,
        predictors,
        observation_of(plan),
        requests_path.resolve() if requests_path is not None else None,
        labels,
        metrics_port,
        speedup,
        total_requests(plan.study.workload),
    )


def _outcome(plan: Plan, done: RayRunResult) -> RunOutcome:
    groups: list[GroupResult] = done.leaves
    by_index = {
        index: ReplicaResult(counters, gaps, coverage)
        for group in groups
        for index, counters, gaps, coverage in group.replicas
    }
    replicas = [by_index[index] for index in range(plan.replicas)]
    _compare_books(replicas, done.stage_books)
    return RunOutcome(done.hub, replicas)


def _compare_books(replicas: list[ReplicaResult], books: list[StageBook]) -> None:
    """Check that the stage actors were busy exactly as long as the replicas' own recurrence says."""
    for book in books:
        busy_ns = replicas[book.replica - 1].counters.busy_ns[book.stage]
        if busy_ns != book.busy_ns:
            raise UnfinishedError(
                f"stage {book.stage} of replica {book.replica - 1} was busy {book.busy_ns} ns in its actor and "
                f"{busy_ns} ns in the replica"
            )
