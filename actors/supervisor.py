"""Places the actors of a run, watches them until it ends, and says clearly what went wrong where it does not.

Only this process ever waits on Ray.  Each actor's ``watch`` call stays open as long as the actor serves, so the death
of one shows at once, whatever the others wait for.
"""

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.cast import Cast
from actors.group_actor import GroupActor
from actors.placement import cpu_share
from actors.router_actor import RouterActor, RouterStatus
from actors.stage_actor import StageActor, StageBook
from actors.transport import LOOPBACK, Limits, Session
from cluster_sim.config.errors import InputError, UnfinishedError

STATUS_S: Final = 0.25
"""Wall seconds between two looks at the router."""
DRAIN_S: Final = 5.0
"""Wall seconds between two collections of what the leaves noted."""
_CONTROL_S: Final = 30.0
"""How long a control call may take."""
_THREADS: Final = 3
"""Calls an actor answers at once: the long one (run, watch), and control calls beside it."""


@dataclass(frozen=True, slots=True)
class Staging:
    """How a run is put on the cluster."""

    groups: list[list[int]]
    """Leaves (indices from 0) of each group actor."""
    stages: int = 0
    """Pipeline stages that are actors of their own, per group; 0 when they are fused."""
    port_range: tuple[int, int] = (20000, 29999)
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Watcher:
    """What the caller wants to see while the run goes on."""

    on_status: Callable[[RouterStatus], None] = lambda _status: None
    on_drain: Callable[[Any], None] = lambda _notes: None
    """Takes what ``LeafSide.drain`` of one group returned."""


class Performance(NamedTuple):
    """What a run leaves."""

    hub: Any
    leaves: list[Any]
    """``LeafSide.results`` by group."""
    stage_books: list[StageBook]
    wall_s: float
    """Of the run itself, from the first window to the last result of every actor; no start-up."""


@dataclass(slots=True)
class _Troupe:
    router: Any
    groups: list[Any]
    stages: list[list[Any]] = field(default_factory=list)

    def everybody(self) -> list[Any]:
        return [self.router, *self.groups, *(each for chain in self.stages for each in chain)]


def cluster_cpus() -> list[float]:
    """Return the CPUs of each node of the cluster that is up."""
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def perform(cast: Cast, staging: Staging, watcher: Watcher | None = None) -> Performance:
    """Run a study on the connected Ray cluster.

    Raises InputError that an actor met while it was built (a file missing on its node), and UnfinishedError where
    actors cannot be placed, one dies, or the protocol stops.
    """
    watcher = watcher or Watcher()
    session = Session(
        run=uuid.uuid4().hex,
        limits=staging.limits,
        host=LOOPBACK if len(cluster_cpus()) == 1 else ray.util.get_node_ip_address(),
        port_range=staging.port_range,
    )
    troupe = _create(staging)
    try:
        _build(troupe, cast, staging, session)
        return _run(troupe, staging, watcher)
    finally:
        for each in troupe.everybody():
            ray.kill(each)


# -------------------------------------------------------------------------------------------------------------- set-up


def _create(staging: Staging) -> _Troupe:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    count = len(staging.groups) * (1 + staging.stages)
    options: dict[str, Any] = {
        "num_cpus": cpu_share(count, cluster_cpus()),
        "scheduling_strategy": "SPREAD",
        "max_concurrency": _THREADS,
        "max_restarts": 0,
    }
    # The router writes files beside this process, so it stays on this node; it waits most of the time.
    router = ray.remote(RouterActor).options(**options | {"num_cpus": 0, "scheduling_strategy": here}).remote()
    group, stage = ray.remote(GroupActor), ray.remote(StageActor)
    return _Troupe(
        router,
        [group.options(**options).remote(index) for index in range(len(staging.groups))],
        [
            [stage.options(**options).remote(index, at, staging.stages) for at in range(staging.stages)]
            for index in range(len(staging.groups) if staging.stages else 0)
        ],
    )


def _build(troupe: _Troupe, cast: Cast, staging: Staging, session: Session) -> None:
    shared = ray.put(cast)  # Once per node, whatever the number of actors.
    hub = troupe.router.build.remote(shared, staging.groups, session)
    groups = [
        each.build.remote(shared, leaves, session, staging.stages)
        for each, leaves in zip(troupe.groups, staging.groups, strict=True)
    ]
    chains = [[each.build.remote(session) for each in chain] for chain in troupe.stages]
    built = _await_all([hub, *groups, *(each for chain in chains for each in chain)], staging)
    hub_endpoint, endpoints = built[0], built[1 : 1 + len(groups)]
    inputs = built[1 + len(groups) :]
    starts = []
    for index, (each, confirmations) in enumerate(zip(troupe.groups, endpoints, strict=True)):
        chain = inputs[index * staging.stages : (index + 1) * staging.stages]
        following = [*chain[1:], confirmations]
        starts += [
            stage.start.remote(endpoint)
            for stage, endpoint in zip(troupe.stages[index] if chain else [], following, strict=False)
        ]
        starts.append(each.start.remote(hub_endpoint, chain[0] if chain else ""))
    _await_all(starts, staging)


def _await_all(calls: list[Any], staging: Staging) -> list[Any]:
    """Return the results of calls that every actor must answer before the run starts."""
    limit_s = staging.limits.start_s
    ready, missing = ray.wait(calls, num_returns=len(calls), timeout=limit_s)
    for call in ready:  # An actor that failed is the better explanation than those that wait for it.
        _result(call, "an actor failed before the run started")
    if missing:
        raise UnfinishedError(
            f"{len(ready)} of {len(calls)} actors were ready after {limit_s:g} s; {_cluster_status()}"
        )
    return [ray.get(call) for call in calls]


def _cluster_status() -> str:
    """Return what ``ray status`` would say of the cluster's room, in one line."""
    total, free = ray.cluster_resources(), ray.available_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    return (
        f"the cluster has {nodes} nodes up with {total.get('CPU', 0):g} CPUs, {free.get('CPU', 0):g} of them free, and "
        f"{total.get('memory', 0) / 2**30:.1f} GiB for actors; ask for fewer actors (run.replicas_per_actor) or add "
        "nodes"
    )


# ----------------------------------------------------------------------------------------------------------- the run


def _run(troupe: _Troupe, staging: Staging, watcher: Watcher) -> Performance:
    started_s = time.monotonic()
    run = troupe.router.run.remote()
    watches = {each.watch.remote(): f"actor {index}" for index, each in enumerate(troupe.groups)}
    for index, chain in enumerate(troupe.stages):
        watches |= {each.watch.remote(): f"stage {at} of actor {index}" for at, each in enumerate(chain)}
    pending = [run, *watches]
    status: RouterStatus | None = None
    asked = None
    drained_s = started_s
    while pending:
        ended, _ = ray.wait(pending, num_returns=1, timeout=STATUS_S)
        if not ended:
            asked, status = _look(troupe, asked, status, watcher)
            if time.monotonic() - drained_s >= DRAIN_S:
                _drain(troupe, watcher)
                drained_s = time.monotonic()
            continue
        pending.remove(ended[0])
        if ended[0] == run:
            _check_run(run, watches, pending, status)
        else:
            _check_watch(ended[0], watches[ended[0]], troupe, staging, status)
    hub = ray.get(run)
    leaves = []
    for index, call in enumerate([each.results.remote() for each in troupe.groups]):
        notes, results = _result(call, f"actor {index} failed after the run")
        watcher.on_drain(notes)
        leaves.append(results)
    wall_s = time.monotonic() - started_s
    books = [_result(each.results.remote(), "a stage failed") for chain in troupe.stages for each in chain]
    return Performance(hub, leaves, [book for part in books for book in part], wall_s)


def _look(
    troupe: _Troupe, asked: Any, status: RouterStatus | None, watcher: Watcher
) -> tuple[Any, RouterStatus | None]:
    """Ask the router how far it is, without ever waiting for the answer."""
    if asked is None:
        return troupe.router.status.remote(), status
    answered, _ = ray.wait([asked], timeout=0)
    if not answered:
        return asked, status
    with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``run``.
        latest = ray.get(asked)
        if latest is not None:
            status = latest
            watcher.on_status(latest)
    return None, status


def _drain(troupe: _Troupe, watcher: Watcher) -> None:
    """Collect what the leaves noted, so that no actor's memory grows with the run."""
    calls = [each.drain.remote() for each in troupe.groups]
    ready, _ = ray.wait(calls, num_returns=len(calls), timeout=_CONTROL_S)
    for call in ready:
        with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``watch``.
            watcher.on_drain(ray.get(call))


def _check_run(run: Any, watches: dict[Any, str], pending: list[Any], status: RouterStatus | None) -> None:
    """Raise what ended the router, or better what ended an actor that it complains of."""
    try:
        ray.get(run)
    except ray.exceptions.RayError as error:
        died, _ = ray.wait(pending, num_returns=len(pending), timeout=1.0) if pending else ([], [])
        for call in died:
            try:
                ray.get(call)
            except ray.exceptions.RayError as death:
                raise UnfinishedError(_death(watches[call], death, status)) from error
        raise UnfinishedError(_death("the router", error, status)) from error


def _check_watch(call: Any, name: str, troupe: _Troupe, staging: Staging, status: RouterStatus | None) -> None:
    """Raise where an actor ended other than by the run's end."""
    try:
        failure = ray.get(call)
    except ray.exceptions.RayError as error:
        with contextlib.suppress(ray.exceptions.RayError):
            status = ray.get(troupe.router.status.remote(), timeout=_CONTROL_S) or status
        raise UnfinishedError(_death(name, error, status, staging)) from error
    if failure:
        raise UnfinishedError(f"{name} failed{_where(status)}: {failure}")


def _death(name: str, error: Exception, status: RouterStatus | None, staging: Staging | None = None) -> str:
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"{name} stopped{_where(status)}: {type(error.cause).__name__}: {error.cause}"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    leaves = ""
    if staging is not None and name.startswith("actor "):
        members = staging.groups[int(name.split()[1])]
        shown = ", ".join(map(str, members[:8])) + (" ..." if len(members) > 8 else "")
        leaves = f" (replicas {shown})"
    return f"{name}{leaves} died{_where(status)}: {reason}"


def _where(status: RouterStatus | None) -> str:
    return "" if status is None else f" after {status.windows} windows ({status.wait})"


def _result(call: Any, what: str) -> Any:
    try:
        return ray.get(call, timeout=_CONTROL_S)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise UnfinishedError(f"{what}: {type(error.cause).__name__}: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise UnfinishedError(f"{what}: {str(error).strip().partition(chr(10))[0]}") from error
