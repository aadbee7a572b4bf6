"""Actors of one run: creation on the cluster, building of their parts of the run, and connection to each other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.group_actor import GroupActor
from actors.node_watch import LOOK_S, NodeWatch
from actors.placement import Placement, cpu_share
from actors.router_actor import RouterActor
from actors.run_spec import RunSpec
from actors.shared_objects import StoredRun
from actors.stage_actor import StageActor
from actors.task_group import actor_options, own_group
from actors.transport import LinkSettings
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.shown_values import by_number, counted

CONTROL_S: Final = 30.0
"""How long a control call may take."""
STOP_S: Final = 10.0
"""How long a killed actor may take to be gone."""
_THREADS: Final = 4
"""Calls an actor answers at once: the long one (run, watch), and control calls beside it."""


class LostActorError(UnfinishedError):
    """The process of an actor is gone, or its node: the run can go on elsewhere."""

    def __init__(self, text: str, nodes: Sequence[str] = ()) -> None:
        """``nodes`` are Ray's ids of the nodes that are gone, on which nothing may be placed any more."""
        super().__init__(text)
        self.nodes = list(nodes)


@dataclass(slots=True)
class RunActors:
    """Handles of the actors of one run."""

    router: Any
    groups: list[Any]
    stages: list[list[Any]]
    """The chain of stages of each group; empty if stages are fused."""

    def stop(self) -> None:
        """Kill every actor."""
        for actor in (self.router, *self.groups, *(stage for chain in self.stages for stage in chain)):
            ray.kill(actor)


def cluster_cpus() -> list[float]:
    """Return the CPUs of each node of the cluster that is up."""
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def create_actors(placement: Placement) -> RunActors:
    """Create the actors, the router on this node; they start when the cluster has room for them."""
    group = own_group()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    count = len(placement.groups) * (1 + placement.stages)
    options: dict[str, Any] = {
        "num_cpus": cpu_share(count, cluster_cpus()),
        "scheduling_strategy": "SPREAD",
        "max_concurrency": _THREADS,
        "max_restarts": 0,
    }
    # The router writes files beside this process, so it stays on this node; it waits most of the time.
    router = ray.remote(RouterActor).options(**options | {"num_cpus": 0, "scheduling_strategy": here}).remote()
    made = [
        options if group is None else options | actor_options(group, index, 1 + placement.stages)
        for index in range(len(placement.groups))
    ]
    group_actor, stage = ray.remote(GroupActor), ray.remote(StageActor)
    return RunActors(
        router,
        [group_actor.options(**made[index]).remote(index) for index in range(len(placement.groups))],
        [
            [stage.options(**made[index]).remote(index, number, placement.stages) for number in range(placement.stages)]
            for index in range(len(placement.groups) if placement.stages else 0)
        ],
    )


def connect(actors: RunActors, spec: RunSpec, placement: Placement, settings: LinkSettings, nodes: NodeWatch) -> None:
    """Build every actor of a study and connect it to its neighbours.

    Raises the InputError that an actor met, and UnfinishedError if one fails or is not ready in time.
    """
    shared = StoredRun(ray.put(spec))
    hub = actors.router.build.remote(shared, placement.groups, settings)
    groups = [
        group.build.remote(shared, members, settings, placement.stages)
        for group, members in zip(actors.groups, placement.groups, strict=True)
    ]
    chains = [[stage.build.remote(settings) for stage in chain] for chain in actors.stages]
    built = _await_all([hub, *groups, *(call for chain in chains for call in chain)], placement, nodes)
    hub_endpoint, ends = built[0], built[1 : 1 + len(groups)]
    inputs = built[1 + len(groups) :]
    starts = []
    for index, (group, (confirmations, begun)) in enumerate(zip(actors.groups, ends, strict=True)):
        chain = inputs[index * placement.stages : (index + 1) * placement.stages]
        following = [*chain[1:], confirmations]
        starts += [
            stage.start.remote(endpoint, begun)
            for stage, endpoint in zip(actors.stages[index] if chain else [], following, strict=False)
        ]
        starts.append(group.start.remote(hub_endpoint, chain[0] if chain else ""))
    _await_all(starts, placement, nodes)


def _await_all(calls: list[Any], placement: Placement, nodes: NodeWatch) -> list[Any]:
    """Return the results of calls that every actor must answer before the run starts."""
    limit_s = placement.limits.start_s
    deadline_s = time.monotonic() + limit_s
    missing = calls
    while missing:
        ready, missing = ray.wait(missing, num_returns=len(missing), timeout=LOOK_S)
        for call in ready:  # An actor that failed explains more than those that wait for it.
            result_of(call, "an actor failed before the run started")
        nodes.check(" before the run started")
        gone = nodes.lost()
        if gone:
            raise LostActorError(f"{nodes.words(gone)} died before the run started", gone)
        if missing and time.monotonic() > deadline_s:
            done = len(calls) - len(missing)
            raise UnfinishedError(
                f"{done} of {counted(len(calls), 'actor')} {by_number(done, 'was', 'were')} ready after {limit_s:g} "
                f"s; {_cluster_status()}"
            )
    return [ray.get(call) for call in calls]


def _cluster_status() -> str:
    """Return the cluster's resources in one line, as ``ray status`` would."""
    total, free = ray.cluster_resources(), ray.available_resources()
    nodes, cpus = sum(node["Alive"] for node in ray.nodes()), total.get("CPU", 0)
    return (
        f"the cluster has {counted(nodes, 'node')} up with {cpus:g} {by_number(cpus, 'CPU', 'CPUs')}, "
        f"{free.get('CPU', 0):g} of them free, and {total.get('memory', 0) / 2**30:.1f} GiB for actors; ask for "
        "fewer actors (run.replicas_per_actor) or add nodes"
    )


def result_of(call: Any, failure: str) -> Any:
    """Return the result of a control call.

    Raises the InputError or UnfinishedError that the actor raised, and UnfinishedError, which begins with ``failure``,
    if it failed otherwise or does not answer.
    """
    try:
        return ray.get(call, timeout=CONTROL_S)
    except ray.exceptions.RayTaskError as error:
        raise_worded(error)
        raise UnfinishedError(f"{failure}: {type(error.cause).__name__}: {error.cause}") from error
    except ray.exceptions.RayActorError as error:
        raise LostActorError(f"{failure}: {str(error).strip().partition(chr(10))[0]}") from error
    except ray.exceptions.RayError as error:
        raise UnfinishedError(f"{failure}: {str(error).strip().partition(chr(10))[0]}") from error


def raise_worded(error: Exception) -> None:
    """Raise the cause of a failed call if an actor has already worded it for the user."""
    if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, InputError | UnfinishedError):
        raise error.cause from None
