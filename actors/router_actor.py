"""Actor of the global router: runs the hub and the event loop over the sockets."""

import gc
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from actors.edge_keeper import EdgeKeeper
from actors.places import Place, this_place
from actors.run_spec import RouterRuntime, RunSpec
from actors.transport import HubSocket, LinkSettings
from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import run_loop
from cluster_sim.simulation.run_work import RunWork


class RouterStatus(NamedTuple):
    """The state of a run that goes on."""

    clock: Instant
    windows: int
    wait: str
    """Who waits for whom."""
    progress: Any
    dropped_frames: int = 0
    """Frames and connections of strangers that the router dropped."""
    waits_s: Mapping[int, float] = MappingProxyType({})
    """For how long each group has owed a reply, in seconds of wall time."""
    work: RunWork = RunWork()
    """Of the router."""


class RouterActor:
    """The hub; a Ray actor, or in tests a plain object.  ``build``, then ``run``; ``status`` at any time."""

    def __init__(self) -> None:
        self._runtime: RouterRuntime | None = None
        self._socket: HubSocket | None = None
        self._coordinator: Coordinator | None = None
        self._keeper: EdgeKeeper
        self._cpu_s = 0.0

    def build(self, spec: RunSpec, groups: Sequence[Sequence[int]], settings: LinkSettings) -> str:
        """Build the hub for replicas (indices from 0) placed in groups; return the endpoint of its socket."""
        self._runtime = spec.router_runtime()
        sources = [[index + 1 for index in members] for members in groups]
        self._socket = HubSocket(settings, spec.codec(), sources)
        runtime = self._runtime
        coordinator = self._coordinator = runtime.coordinator(groups)
        self._keeper = EdgeKeeper(lambda: (coordinator.clock, runtime.state(coordinator)))
        runtime.watch(coordinator.traffic)
        self._socket.describe = self._coordinator.describe_wait
        return self._socket.endpoint

    def run(self) -> Any:
        """Run the loop to the run's end and return the hub's result."""
        runtime, socket, coordinator = self._runtime, self._socket, self._coordinator
        assert runtime is not None, "the actor was not built"
        assert socket is not None
        assert coordinator is not None
        socket.await_groups()
        socket.waited_s, began_s = 0.0, time.thread_time()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        run_loop(runtime.hub, coordinator, socket, runtime.observer, self._keeper)
        self._keeper.end()
        socket.stop(runtime.end())
        socket.close()
        result = runtime.close(coordinator)
        self._cpu_s = time.thread_time() - began_s
        return result

    def live(self, known: int) -> Any:
        """Return the runtime's latest snapshot for live metrics; None before the actor is built."""
        return None if self._runtime is None else self._runtime.live(known)

    def take_state(self) -> tuple[Instant, Any] | None:
        """Return the hub's clock and the state of its side at the next window edge; the loop waits there.

        None if the run has ended.  Raises SnapshotError if the state cannot be written; then the loop goes on.
        """
        taken: tuple[Instant, Any] | None = self._keeper.take()
        return taken

    def go_on(self) -> None:
        """Let the loop go on after ``take_state``."""
        self._keeper.go_on()

    def status(self) -> RouterStatus | None:
        """Return how far the run is; None before the actor is built."""
        runtime, coordinator, socket = self._runtime, self._coordinator, self._socket
        if runtime is None or coordinator is None or socket is None:
            return None
        return RouterStatus(
            coordinator.clock,
            coordinator.traffic.windows,
            coordinator.describe_wait(),
            runtime.progress(),
            socket.dropped_frames,
            socket.waits_s(),
            RunWork(self._cpu_s, (), socket.waited_s, socket.sent_bytes, socket.received_bytes),
        )

    def where(self) -> Place:
        """Return the node and the process of this actor."""
        return this_place()
