"""Performs a run on the cluster: watches its actors until it ends, and says clearly what went wrong where it does not.

Only this process ever waits on Ray.  Each actor's ``watch`` call stays open as long as the actor serves, so the death
of one shows at once, whatever the others wait for.
"""

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import ray

from actors.actor_creation import (
    CONTROL_S,
    RunActors,
    Staging,
    cluster_cpus,
    create_actors,
    raise_told,
    result_of,
    set_up,
)
from actors.router_actor import RouterStatus
from actors.run_spec import RunSpec
from actors.stage_actor import StageBook
from actors.transport import LOOPBACK, Session
from cluster_sim.errors import UnfinishedError

STATUS_S: Final = 0.25
"""Wall seconds between two looks at the router."""
DRAIN_S: Final = 5.0
"""Wall seconds between two collections of what the leaves noted."""


@dataclass(slots=True)
class Watcher:
    """What the caller wants to see while the run goes on."""

    on_status: Callable[[RouterStatus], None] = lambda _status: None
    on_drain: Callable[[Any], None] = lambda _notes: None
    """Takes what ``ReplicaGroupRuntime.drain`` of one group returned."""


class RayRunResult(NamedTuple):
    """What a run leaves."""

    hub: Any
    leaves: list[Any]
    """``ReplicaGroupRuntime.results`` by group."""
    stage_books: list[StageBook]
    wall_s: float
    """Of the run itself, from the first window to the last result of every actor; no start-up."""


def run_actors(cast: RunSpec, staging: Staging, watcher: Watcher | None = None) -> RayRunResult:
    """Run a study on the connected Ray cluster.

    Raises InputError that an actor met (a file missing on its node), and UnfinishedError where actors cannot be placed,
    one dies, or the run cannot go on.
    """
    session = Session(
        run=uuid.uuid4().hex,
        limits=staging.limits,
        host=LOOPBACK if len(cluster_cpus()) == 1 else ray.util.get_node_ip_address(),
        port_range=staging.port_range,
    )
    actors = create_actors(staging)
    try:
        set_up(actors, cast, staging, session)
        return _Supervision(actors, staging, watcher or Watcher()).run()
    finally:
        actors.stop()


class _Supervision:
    """One run under way: the calls that are open, and the last that was heard of it."""

    def __init__(self, actors: RunActors, staging: Staging, watcher: Watcher) -> None:
        self._troupe = actors
        self._staging = staging
        self._watcher = watcher
        self._status: RouterStatus | None = None
        self._asked: Any = None
        """The router's answer that is due."""
        self._draining: dict[int, Any] = {}
        """Notes that are due, by group."""
        self._drained_s = 0.0

    def run(self) -> RayRunResult:
        """Start the run, watch it to its end and collect what it leaves."""
        actors = self._troupe
        started_s = self._drained_s = time.monotonic()
        run = actors.router.run.remote()
        watches = {each.watch.remote(): f"actor {index}" for index, each in enumerate(actors.groups)}
        for index, chain in enumerate(actors.stages):
            watches |= {each.watch.remote(): f"stage {at} of actor {index}" for at, each in enumerate(chain)}
        pending = [run, *watches]
        while pending:
            ended, _ = ray.wait(pending, num_returns=1, timeout=STATUS_S)
            if not ended:
                self._look()
                self._drain()
                continue
            pending.remove(ended[0])
            if ended[0] == run:
                self._check_run(run, watches, pending)
            else:
                self._check_watch(ended[0], watches[ended[0]])
        hub = ray.get(run)
        leaves = self._results()
        wall_s = time.monotonic() - started_s
        books = [result_of(each.results.remote(), "a stage failed") for chain in actors.stages for each in chain]
        return RayRunResult(hub, leaves, [book for part in books for book in part], wall_s)

    def _results(self) -> list[Any]:
        """Return what the leaves of every group leave, after the last of their notes."""
        for index, call in self._draining.items():
            self._watcher.on_drain(result_of(call, f"actor {index} failed after the run"))
        leaves = []
        for index, call in enumerate([each.results.remote() for each in self._troupe.groups]):
            notes, results = result_of(call, f"actor {index} failed after the run")
            self._watcher.on_drain(notes)
            leaves.append(results)
        return leaves

    def _look(self) -> None:
        """Ask the router how far it is, without ever waiting for the answer."""
        if self._asked is None:
            self._asked = self._troupe.router.status.remote()
            return
        answered, _ = ray.wait([self._asked], timeout=0)
        if not answered:
            return
        with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``run``.
            latest = ray.get(self._asked)
            if latest is not None:
                self._status = latest
                self._watcher.on_status(latest)
        self._asked = None

    def _drain(self) -> None:
        """Collect what the leaves noted, so that no actor's memory grows with the run.

        Nobody waits for an actor: one in a long window answers when the window ends, and is not asked again before.
        """
        for index, call in list(self._draining.items()):
            if ray.wait([call], timeout=0)[0]:
                del self._draining[index]
                with contextlib.suppress(ray.exceptions.RayError):  # Its death shows in ``watch``.
                    self._watcher.on_drain(ray.get(call))
        if time.monotonic() - self._drained_s >= DRAIN_S:
            self._drained_s = time.monotonic()
            for index, each in enumerate(self._troupe.groups):
                if index not in self._draining:
                    self._draining[index] = each.drain.remote()

    def _check_run(self, run: Any, watches: dict[Any, str], pending: list[Any]) -> None:
        """Raise what ended the router, or better what ended an actor that it complains of."""
        try:
            ray.get(run)
        except ray.exceptions.RayError as error:
            raise_told(error)
            died, _ = ray.wait(pending, num_returns=len(pending), timeout=1.0) if pending else ([], [])
            for call in died:
                try:
                    ray.get(call)
                except ray.exceptions.RayError as death:
                    raise UnfinishedError(self._death(watches[call], death)) from error
            raise UnfinishedError(self._death("the router", error)) from error

    def _check_watch(self, call: Any, name: str) -> None:
        """Raise where an actor ended other than by the run's end."""
        try:
            failure = ray.get(call)
        except ray.exceptions.RayError as error:
            with contextlib.suppress(ray.exceptions.RayError):
                self._status = ray.get(self._troupe.router.status.remote(), timeout=CONTROL_S) or self._status
            raise UnfinishedError(self._death(name, error)) from error
        if failure:
            raise UnfinishedError(f"{name} failed{self._where()}: {failure}")

    def _death(self, name: str, error: Exception) -> str:
        if isinstance(error, ray.exceptions.RayTaskError):
            return f"{name} stopped{self._where()}: {type(error.cause).__name__}: {error.cause}"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        leaves = ""
        if name.startswith("actor "):
            members = self._staging.groups[int(name.split()[1])]
            shown = ", ".join(map(str, members[:8])) + (" ..." if len(members) > 8 else "")
            leaves = f" (replicas {shown})"
        return f"{name}{leaves} died{self._where()}: {reason}"

    def _where(self) -> str:
        status = self._status
        return "" if status is None else f" after {status.windows} windows ({status.wait})"
