"""The actor of the global router: it conducts the run over the sockets and keeps the hub's books."""

import gc
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.run_spec import RouterRuntime, RunSpec, load
from actors.transport import HubSocket, Session
from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import run_loop


class RouterStatus(NamedTuple):
    """What the router can say of a run that goes on."""

    clock: Instant
    windows: int
    wait: str
    """Who waits for whom with which promise."""
    progress: Any


class RouterActor:
    """The hub; a Ray actor, or in tests a plain object.  ``build``, then ``run``; ``status`` at any time."""

    def __init__(self) -> None:
        self._side: RouterRuntime | None = None
        self._socket: HubSocket | None = None
        self._coordinator: Coordinator | None = None

    def build(self, cast: RunSpec, groups: Sequence[Sequence[int]], session: Session) -> str:
        """Build the hub for leaves (indices from 0) placed in groups; return the endpoint of its socket."""
        self._side = load(cast.router_runtime)(cast.data)
        sources = [[index + 1 for index in members] for members in groups]
        self._socket = HubSocket(session, load(cast.codec)(), sources)
        self._coordinator = Coordinator(self._side.hub, self._side.links(groups), self._side.run_end)
        self._socket.describe = self._coordinator.describe_wait
        return self._socket.endpoint

    def run(self) -> Any:
        """Conduct the run to its end and return the hub's result."""
        side, socket, coordinator = self._side, self._socket, self._coordinator
        assert side is not None, "the actor was not built"
        assert socket is not None
        assert coordinator is not None
        socket.await_groups()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        run_loop(side.hub, coordinator, socket, side.observer)
        socket.stop(side.end())
        socket.close()
        return side.close(coordinator)

    def status(self) -> RouterStatus | None:
        """Return how far the run is; None before it is built."""
        side, coordinator = self._side, self._coordinator
        if side is None or coordinator is None:
            return None
        return RouterStatus(
            coordinator.clock, coordinator.traffic.windows, coordinator.describe_wait(), side.progress()
        )
