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
    RunActors,
    cluster_cpus,
    connect,
    create_actors,
    raise_worded,
    result_of,
)
from actors.network import open_network
from actors.placement import Placement
from actors.router_actor import RouterStatus
from actors.run_spec import RunSpec
from actors.snapshots import live_snapshots
from actors.stage_actor import StageCounts
from actors.transport import LinkSettings
from actors.watchdog import Watchdog
from cluster_sim.errors import UnfinishedError
from cluster_sim.metrics.live_feed import LiveSource

STATUS_S: Final = 0.25
"""Wall seconds between two status requests to the router."""
_RUN_BYTES: Final = 16
"""Length of a run's name on the wire, which nobody can guess."""
DRAIN_S: Final = 5.0
"""Wall seconds between two collections of the replicas' series."""


@dataclass(slots=True)
class RunObserver:
    """Callbacks of the caller while the run goes on."""

    on_status: Callable[[RouterStatus], None] = lambda _status: None
    on_drain: Callable[[Any], None] = lambda _series: None
    """Takes the result of one group's ``ReplicaGroupRuntime.drain``."""
    live: LiveSource | None = None
    """Serves the router's snapshots while the run goes on."""


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


def run_actors(spec: RunSpec, placement: Placement, observer: RunObserver | None = None) -> RayRunResult:
    """Run a study on the connected Ray cluster.

    Raises the InputError that an actor met (a file missing on its node), and UnfinishedError if actors cannot be
    placed, one dies, or the run cannot go on.
    """
    host = None if len(cluster_cpus()) == 1 else ray.util.get_node_ip_address()
    with open_network(host, placement.port_range) as network:
        settings = LinkSettings(secrets.token_hex(_RUN_BYTES), network, limits=placement.limits)
        actors = create_actors(placement)
        try:
            connect(actors, spec, placement, settings)
            observer = observer or RunObserver()
            with live_snapshots(observer.live, actors.router):
                return _Supervision(actors, placement, observer).run()
        finally:
            actors.stop()


class _Supervision:
    """One run under way: the calls that are open, and its last known status."""

    def __init__(self, actors: RunActors, placement: Placement, observer: RunObserver) -> None:
        self._actors = actors
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
        places = [result_of(group.where.remote(), "an actor failed before the run") for group in actors.groups]
        self._watchdog = Watchdog(places, result_of(actors.router.where.remote(), "the router failed before the run"))

    def run(self) -> RayRunResult:
        """Start the run, watch it to its end and collect its results."""
        actors = self._actors
        started_s = self._drained_s = time.monotonic()
        run = actors.router.run.remote()
        watches = {group.watch.remote(): f"actor {index}" for index, group in enumerate(actors.groups)}
        for index, chain in enumerate(actors.stages):
            watches |= {actor.watch.remote(): f"stage {stage} of actor {index}" for stage, actor in enumerate(chain)}
        pending = [run, *watches]
        while pending:
            ended, _ = ray.wait(pending, num_returns=1, timeout=STATUS_S)
            if not ended:
                self._request_status()
                self._drain()
                if self._ended_s:
                    self._watchdog.on_ending([watches[call] for call in pending], time.monotonic() - self._ended_s)
                continue
            pending.remove(ended[0])
            if ended[0] == run:
                self._check_run(run, watches, pending)
                self._ended_s = time.monotonic()
            else:
                self._check_watch(ended[0], watches[ended[0]])
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
        return RayRunResult(hub, groups, stages, wall_s, status.dropped_frames if status is not None else 0)

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
            died, _ = ray.wait(pending, num_returns=len(pending), timeout=1.0) if pending else ([], [])
            for call in died:
                try:
                    ray.get(call)
                except ray.exceptions.RayError as death:
                    raise UnfinishedError(self._death(watches[call], death)) from error
            raise UnfinishedError(self._death("the router", error)) from error

    def _check_watch(self, call: Any, name: str) -> None:
        """Raise UnfinishedError if an actor ended before the run did."""
        try:
            failure = ray.get(call)
        except ray.exceptions.RayError as error:
            with contextlib.suppress(ray.exceptions.RayError):
                self._status = ray.get(self._actors.router.status.remote(), timeout=CONTROL_S) or self._status
            raise UnfinishedError(self._death(name, error)) from error
        if failure:
            raise UnfinishedError(f"{name} failed{self._where()}: {failure}")

    def _death(self, name: str, error: Exception) -> str:
        if isinstance(error, ray.exceptions.RayTaskError):
            return f"{name} stopped{self._where()}: {type(error.cause).__name__}: {error.cause}"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        replicas = ""
        if name.startswith("actor "):
            members = self._placement.groups[int(name.split()[1])]
            shown = ", ".join(map(str, members[:8])) + (" ..." if len(members) > 8 else "")
            replicas = f" (replicas {shown})"
        return f"{name}{replicas} died{self._where()}: {reason}"

    def _where(self) -> str:
        status = self._status
        return "" if status is None else f" after {status.windows} windows ({status.wait})"
