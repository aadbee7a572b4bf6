"""Watch over the nodes of a cluster: looks at their ports itself, because Ray is slow to find out or ends this process.

When a cluster's control service (GCS) is gone, calls of Ray do not return, and after a minute Ray ends every process
that is connected.  So nothing here asks Ray while a run goes on.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import ray

from cluster_sim.errors import UnfinishedError

LOOK_S: Final = 1.0
"""Between two looks at every port."""
REFUSALS: Final = 2
"""Looks in a row that are refused before whatever listened there counts as gone: nothing refuses under load."""
SILENCES: Final = 15
"""Looks in a row without any answer before that."""
ANSWER_S: Final = 2.0
"""How long an answer may take."""
MOST_SHARE: Final = 0.75
"""Share of the time that Ray waits for its control service after which a run ends by itself, with a message."""
NEVER_S: Final = float("inf")
_PATIENCE: Final = "RAY_gcs_rpc_server_reconnect_timeout_s"
LOGGER: Final = logging.getLogger(__name__)


class LostClusterError(UnfinishedError):
    """The head node is gone, or the Ray node of this process: nothing of the run can go on, and Ray answers no more."""


class Peer(NamedTuple):
    """A port that a part of the cluster listens at."""

    node: str
    """Ray's id of the node; empty for the control service."""
    host: str
    port: int


class NodeWatch:
    """Which nodes of a cluster are gone, by the looks of their ports; another thread looks."""

    def __init__(self, control: Peer, nodes: list[Peer], here: str) -> None:
        """``here`` is the id of the node that this process is connected to."""
        self._control = control
        self._nodes = {peer.node: peer for peer in nodes}
        self._here = here
        self._misses: dict[Peer, tuple[int, int]] = {}
        """Looks in a row that were (refused, without an answer)."""
        self._warned_s = NEVER_S
        """When the loss of the control service was seen."""

    def look(self, answers: Callable[[Peer], bool | None] | None = None) -> None:
        """Look at every port once."""
        ask = answers or answer_of
        for peer in (self._control, *self._nodes.values()):
            answer = ask(peer)
            refused, silent = self._misses.get(peer, (0, 0))
            self._misses[peer] = (refused + 1, silent) if answer is False else (0, silent + 1)
            if answer:
                self._misses.pop(peer, None)
        self._warn()

    def _warn(self) -> None:
        """Say once that the control service is gone, and take in that it is back."""
        if not self.is_control_lost:
            self._warned_s = NEVER_S
        elif self._warned_s == NEVER_S:
            self._warned_s = time.monotonic()
            LOGGER.warning(
                "the cluster's control service (GCS) at %s:%d does not answer any more: the run goes on as long as "
                "Ray leaves its processes alive, about %.0f s",
                self._control.host,
                self._control.port,
                patience_s(),
            )

    @property
    def is_control_lost(self) -> bool:
        """Whether the control service is gone."""
        return self._is_lost(self._control)

    def words(self, nodes: Sequence[str]) -> str:
        """Return nodes by address and the beginning of their ids, for messages."""
        names = [f"{self._nodes[node].host} ({node[:8]})" if node in self._nodes else node[:8] for node in nodes]
        return f"node{'s' * (len(names) > 1)} {' and '.join(names)}"

    def lost(self) -> list[str]:
        """Return the nodes that are gone."""
        return [node for node, peer in self._nodes.items() if self._is_lost(peer)]

    def gone_now(self) -> list[str]:
        """Look at every node at once, when a process has died; return those that are gone."""
        gone = [node for node, peer in self._nodes.items() if self._is_lost(peer) or answer_of(peer) is False]
        if self._here in gone:
            self._lose(self._nodes[self._here])
        if answer_of(self._control) is False:
            self._lose(self._control)
        return gone

    def check(self, when: str = "") -> None:
        """Raise LostClusterError if this process is cut off from Ray; ``when`` says how far the run is.

        That is so if the node of this process is gone, and soon if the control service has been for too long.
        """
        if self._is_lost(self._nodes[self._here]):
            what = "the cluster's head node" if self.is_control_lost else "the Ray node of this process"
            raise LostClusterError(f"{what}, {self._nodes[self._here].host}, died{when}")
        if self.is_control_lost and time.monotonic() - self._warned_s > MOST_SHARE * patience_s():
            raise LostClusterError(
                f"the cluster's control service (GCS) at {self._control.host}:{self._control.port} has been gone for "
                f"{time.monotonic() - self._warned_s:.0f} s{when}, and Ray ends its processes now"
            )

    def _lose(self, peer: Peer) -> None:
        self._misses[peer] = (REFUSALS, 0)
        if peer is self._control:
            self._warn()

    def _is_lost(self, peer: Peer) -> bool:
        refused, silent = self._misses.get(peer, (0, 0))
        return refused >= REFUSALS or silent >= SILENCES


def patience_s() -> float:
    """Return how long Ray waits for its control service to come back before it ends this process."""
    return float(os.environ.get(_PATIENCE, "60"))


def answer_of(peer: Peer) -> bool | None:
    """Return whether something listens at a port; None if nobody says so."""
    try:
        with socket.create_connection((peer.host, peer.port), timeout=ANSWER_S):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None


@contextmanager
def watched_nodes() -> Iterator[NodeWatch]:
    """Watch the nodes of the connected cluster while the context lasts."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    nodes = [
        Peer(node["NodeID"], node["NodeManagerAddress"], node["NodeManagerPort"])
        for node in ray.nodes()
        if node["Alive"]
    ]
    watch = NodeWatch(Peer("", host.strip("[]"), int(port)), nodes, context.get_node_id())
    is_over = threading.Event()

    def keep_looking() -> None:
        while not is_over.wait(LOOK_S):
            watch.look()

    looking = threading.Thread(target=keep_looking, name="node-watch", daemon=True)
    looking.start()
    try:
        yield watch
    finally:
        is_over.set()
        looking.join(ANSWER_S)


def await_removal(nodes: Sequence[str], limit_s: float) -> None:
    """Wait until Ray knows that nodes are gone, so that nothing new is placed there."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        if not alive.intersection(nodes):
            return
        time.sleep(LOOK_S / 2)
