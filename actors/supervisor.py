"""Supervisor of a run on the cluster: watches its actors until it ends, and reports the error if one fails.

Only this process ever waits on Ray.  Each actor's ``watch`` call stays open as long as the actor serves, so the death
of one shows at once, whatever the others wait for.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import ray

from actors.actor_creation import (
    CONTROL_S,
    STOP_S,
    LostActorError,
    RunActors,
    cluster_cpus,
    connect,
    create_actors,
    raise_worded,
    result_of,
)
from actors.memory_reports import MemoryReports
from actors.network import open_network
from actors.node_watch import LostClusterError, NodeWatch, watched_nodes
from actors.placement import Placement
from actors.places import Place
from actors.router_actor import RouterStatus
from actors.run_spec import RunSpec
from actors.snapshots import live_snapshots
from actors.stage_actor import StageCounts
from actors.transport import BrokenLinkError, LinkSettings, UnreachableError
from actors.watchdog import Watchdog
from cluster_sim.engine.instant import Instant, time_of
from cluster_sim.errors import UnfinishedError
from cluster_sim.metrics.live_feed import LiveSource
from cluster_sim.shown_values import counted
from cluster_sim.simulation.run_work import RunWork
from cluster_sim.snapshot.names import SnapshotError
from cluster_sim.units import NS_PER_S

ROUTER: Final = "the router"
UNREACHABLE_S: Final = 20.0
"""Wall seconds within which Ray says that an actor has died which the router cannot reach."""
STATUS_S: Final = 0.25
"""Wall seconds between two status requests to the router."""
_RUN_BYTES: Final = 16
"""Length of a run's name on the wire, which nobody can guess."""
DRAIN_S: Final = 5.0
"""Wall seconds between two collections of the replicas' series."""


class RunStateParts(NamedTuple):
    """The states of all processes at one window edge, as their runtimes return them."""

    clock: Instant
    router: Any
    groups: list[Any]
    members: list[list[int]]
    """Sources of the replicas of each group."""
    records: list[Any]
    """The last records of every group before the edge, as ``ReplicaGroupRuntime.drain`` returns them."""
    wall_s: float
    """Of the run so far."""


TakeParts = Callable[[], RunStateParts | None]
"""Takes the states; None if the run ends before, or an actor is gone."""


@dataclass(slots=True)
class RunObserver:
    """Callbacks of the caller while the run goes on."""

    on_status: Callable[[RouterStatus], None] = lambda _status: None
    on_drain: Callable[[Any], None] = lambda _series: None
    """Takes the result of one group's ``ReplicaGroupRuntime.drain``."""
    live: LiveSource | None = None
    """Serves the router's snapshots while the run goes on."""
    is_due: Callable[[], bool] = lambda: False
    """Whether the states of all processes are wanted."""
    on_due: Callable[[TakeParts], None] = lambda _take: None
    """Called when they are."""


class RayRunResult(NamedTuple):
    """The results of a run."""

    hub: Any
    groups: list[Any]
    """``ReplicaGroupRuntime.results`` by group."""
    stages: list[StageCounts]
    wall_s: float
    """Of the run itself, from the first window to the last result of every actor; no start-up."""
    dropped_frames: int = 0
    """Frames and connections of strangers that the router dropped."""
    work: RunWork = RunWork()


def run_actors(spec: RunSpec, placement: Placement, observer: RunObserver | None = None) -> RayRunResult:
    """Run a study on the connected Ray cluster.

    Raises the InputError that an actor met (a file missing on its node), and UnfinishedError if actors cannot be
    placed, one dies, or the run cannot go on.
    """
    host = None if len(cluster_cpus()) == 1 else ray.util.get_node_ip_address()
    with watched_nodes() as nodes, open_network(host, placement.port_range) as network:
        settings = LinkSettings(secrets.token_hex(_RUN_BYTES), network, limits=placement.limits)
        actors = create_actors(placement)
        try:
            connect(actors, spec, placement, settings, nodes)
            observer = observer or RunObserver()
            with live_snapshots(observer.live, actors.router):
                return _Supervision(actors, placement, observer, nodes).run()
        except LostActorError as error:
            gone = nodes.gone_now()
            nodes.check()
            if nodes.is_control_lost:
                raise LostClusterError(f"{error}; the cluster's control service (GCS) is gone as well") from error
            raise LostActorError(str(error), [*error.nodes, *gone]) from error
        finally:
            if not nodes.is_control_lost:
                actors.stop()
                _await_end(actors)


def _await_end(actors: RunActors) -> None:
    """Wait until the router is gone, which writes files that another one may go on with."""
    asked = actors.router.status.remote()
    ray.wait([asked], timeout=STOP_S)


class _Supervision:
    """One run under way: the calls that are open, and its last known status."""

    def __init__(self, actors: RunActors, placement: Placement, observer: RunObserver, nodes: NodeWatch) -> None:
        self._actors = actors
        self._nodes = nodes
        self._placement = placement
        self._observer = observer
        self._status: RouterStatus | None = None
        self._asked: Any = None
        """The router's answer that is due."""
        self._draining: dict[int, Any] = {}
        """Series that are due, by group."""
        self._drained_s = 0.0
        self._asked_s = 0.0
        """When the answer that is due was asked for."""
        self._ended_s = 0.0
        """When the router was done; 0 before."""
        self._places = _places_of(actors)
        groups = [str(self._places[f"actor {index}"]) for index in range(len(actors.groups))]
        self._watchdog = Watchdog(groups, str(self._places[ROUTER]))
        self._memory = MemoryReports(
            {self._places[f"actor {index}"]: group for index, group in enumerate(actors.groups)}
        )
        self._started_s = 0.0
        self._run: Any = None
        """The router's call that ends with the run."""
        self._pending: list[Any] = []
        """Calls that stay open while their actors serve."""

    def run(self) -> RayRunResult:
        """Start the run, watch it to its end and collect its results."""
        actors = self._actors
        started_s = self._drained_s = time.monotonic()
        run = self._run = actors.router.run.remote()
        watches = {group.watch.remote(): f"actor {index}" for index, group in enumerate(actors.groups)}
        for index, chain in enumerate(actors.stages):
            watches |= {actor.watch.remote(): f"stage {stage} of actor {index}" for stage, actor in enumerate(chain)}
        self._started_s = started_s
        pending = self._pending = [run, *watches]
        while pending:
            ended, _ = ray.wait(pending, num_returns=1, timeout=STATUS_S)
            if not ended:
                self._check_nodes()
                self._request_status()
                self._drain()
                self._memory.look(0.0 if self._status is None else time_of(self._status.clock) / NS_PER_S)
                if self._ended_s:
                    self._watchdog.on_ending([watches[call] for call in pending], time.monotonic() - self._ended_s)
                if self._observer.is_due():
                    self._observer.on_due(self._take)
                continue
            pending.remove(ended[0])
            if ended[0] == run:
                self._check_run(run, watches, pending)
                self._ended_s = time.monotonic()
            else:
                self._check_watch(ended[0], watches[ended[0]], watches)
        hub = ray.get(run)
        groups = self._results()
        wall_s = time.monotonic() - started_s
        stages = [
            counts
            for chain in actors.stages
            for stage in chain
            for counts in result_of(stage.results.remote(), "a stage failed")
        ]
        status: RouterStatus | None = result_of(actors.router.status.remote(), "the router failed after the run")
        assert status is not None, "the router has run"
        calls = [group.cpu_s.remote() for group in actors.groups]
        cpu_s = tuple(result_of(call, f"actor {index} failed after the run") for index, call in enumerate(calls))
        work = status.work._replace(group_cpu_s=cpu_s)
        return RayRunResult(hub, groups, stages, wall_s, status.dropped_frames, work)

    def _results(self) -> list[Any]:
        """Return the results of every group, after the last of its series."""
        for index, call in self._draining.items():
            self._observer.on_drain(result_of(call, f"actor {index} failed after the run"))
        groups = []
        for index, call in enumerate([group.results.remote() for group in self._actors.groups]):
            series, results = result_of(call, f"actor {index} failed after the run")
            self._observer.on_drain(series)
            groups.append(results)
        return groups

    def _take(self) -> RunStateParts | None:
        """Let the router wait at a window edge, and take all states there."""
        try:
            return self._take_all()
        except ray.exceptions.RayActorError:
            return None  # Its death shows in ``run``.

    def _take_all(self) -> RunStateParts | None:
        actors = self._actors
        router = actors.router.take_state.remote()
        if not self._answers([router]):
            return None
        taken = _state_of(router)
        if taken is None:
            return None
        try:
            calls = [group.take_state.remote() for group in actors.groups]
            if not self._answers(calls):
                return None
            # What was asked for before lies before the edge, too.
            records = [_state_of(call) for call in self._draining.values()]
            self._draining.clear()
            states = [_state_of(call) for call in calls]
        finally:
            actors.router.go_on.remote()
        wall_s = time.monotonic() - self._started_s
        return RunStateParts(
            taken[0],
            taken[1],
            [state for _, state, _ in states],
            [members for _, _, members in states],
            [*records, *(record for record, _, _ in states)],
            wall_s,
        )

    def _answers(self, calls: list[Any]) -> bool:
        """Wait for calls; False if an actor ends before they are all answered."""
        left = list(calls)
        while left:
            ended, _ = ray.wait([*left, *self._pending], num_returns=1, timeout=STATUS_S)
            if not ended:
                self._check_nodes()
            elif ended[0] not in left:
                return False
            else:
                left.remove(ended[0])
        return True

    def _request_status(self) -> None:
        """Ask the router how far it is, without ever waiting for the answer."""
        if self._asked is None:
            self._asked, self._asked_s = self._actors.router.status.remote(), time.monotonic()
            return
        answered, _ = ray.wait([self._asked], timeout=0)
        if not answered:
            self._watchdog.on_silence(time.monotonic() - self._asked_s)
            return
        with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``run``.
            latest = ray.get(self._asked)
            if latest is not None:
                self._status = latest
                if not self._ended_s:
                    self._watchdog.on_status(latest)
                self._observer.on_status(latest)
        self._asked = None

    def _drain(self) -> None:
        """Collect the replicas' records, so that no actor's memory grows with the run.

        Nobody waits for an actor: one in a long window answers when the window ends, and is not asked again before.
        """
        for index, call in list(self._draining.items()):
            if ray.wait([call], timeout=0)[0]:
                del self._draining[index]
                with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``watch``.
                    self._observer.on_drain(ray.get(call))
        if time.monotonic() - self._drained_s >= DRAIN_S:
            self._drained_s = time.monotonic()
            for index, group in enumerate(self._actors.groups):
                if index not in self._draining:
                    self._draining[index] = group.drain.remote()

    def _check_run(self, run: Any, watches: dict[Any, str], pending: list[Any]) -> None:
        """Raise the error that ended the router, or rather the one that ended an actor which it reports."""
        try:
            ray.get(run)
        except ray.exceptions.RayError as error:
            raise_worded(error)
            limit_s = UNREACHABLE_S if isinstance(getattr(error, "cause", None), UnreachableError) else 1.0
            died, _ = ray.wait(pending, num_returns=1, timeout=limit_s) if pending else ([], [])
            for call in died:
                try:
                    ray.get(call)
                except ray.exceptions.RayError as death:
                    raise self._ending(watches[call], death) from error
            raise self._ending(ROUTER, error) from error

    def _check_watch(self, call: Any, name: str, watches: dict[Any, str]) -> None:
        """Raise UnfinishedError if an actor ended before the run did."""
        try:
            failure = ray.get(call)
        except ray.exceptions.RayError as error:
            with contextlib.suppress(ray.exceptions.RayError):
                self._status = ray.get(self._actors.router.status.remote(), timeout=CONTROL_S) or self._status
            raise self._ending(name, error) from error
        if failure:
            # The router is told of it, and knows whether it is a link alone.
            if self._pending and self._run in self._pending and ray.wait([self._run], timeout=CONTROL_S)[0]:
                self._pending.remove(self._run)
                self._check_run(self._run, watches, self._pending)
            raise UnfinishedError(f"{name} failed{self._where()}: {failure}")

    def _ending(self, name: str, error: Exception) -> UnfinishedError:
        """Return the error that says how an actor ended: by an exception of its own, or with its process."""
        if isinstance(error, ray.exceptions.RayTaskError):
            is_link = isinstance(error.cause, BrokenLinkError)
            return (LostActorError if is_link else UnfinishedError)(self._death(name, error))
        gone = self._nodes.gone_now()
        return self._lost_nodes(gone) if self._places[name].node in gone else LostActorError(self._death(name, error))

    def _check_nodes(self) -> None:
        """Raise LostClusterError if this process is cut off, LostActorError if a node with actors is gone."""
        self._nodes.check(self._where())
        used = {place.node for place in self._places.values()}
        gone = [node for node in self._nodes.lost() if node in used]
        if gone:
            raise self._lost_nodes(gone)

    def _lost_nodes(self, nodes: list[str]) -> LostActorError:
        """Return the error of nodes that are gone, with the actors that were there."""
        lost = [self._named(name) for name, place in self._places.items() if place.node in nodes]
        return LostActorError(f"{self._nodes.words(nodes)} died{self._where()}, and with it {', '.join(lost)}", nodes)

    def _death(self, name: str, error: Exception) -> str:
        if isinstance(error, ray.exceptions.RayTaskError):
            return f"{name} stopped{self._where()}: {type(error.cause).__name__}: {error.cause}"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"{self._named(name)} died{self._where()}: {reason}"

    def _named(self, name: str) -> str:
        """Return the name of an actor, with the replicas that it holds."""
        if not name.startswith("actor "):
            return name
        members = self._placement.groups[int(name.split()[1])]
        shown = ", ".join(map(str, members[:8])) + (" ..." if len(members) > 8 else "")
        return f"{name} (replicas {shown})"

    def _where(self) -> str:
        status = self._status
        return "" if status is None else f" after {counted(status.windows, 'window')} ({status.wait})"


def _places_of(actors: RunActors) -> dict[str, Place]:
    """Return where every actor is, by the names that messages give them."""
    named = {ROUTER: actors.router} | {f"actor {index}": group for index, group in enumerate(actors.groups)}
    for index, chain in enumerate(actors.stages):
        named |= {f"stage {stage} of actor {index}": actor for stage, actor in enumerate(chain)}
    calls = {name: actor.where.remote() for name, actor in named.items()}
    return {name: result_of(call, f"{name} failed before the run") for name, call in calls.items()}


def _state_of(call: Any) -> Any:
    """Return the state that a call has answered.

    Raises SnapshotError if it could not be written, and the OSError of an actor whose disk is full.
    """
    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as error:
        raise_worded(error)
        if isinstance(error.cause, OSError):
            raise OSError(error.cause.errno, error.cause.strerror, error.cause.filename) from None
        raise SnapshotError(f"{type(error.cause).__name__}: {error.cause}") from None
