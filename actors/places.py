"""Place of an actor: its node and process, for messages and for whoever looks whether the node is still there."""

import os
import socket
from typing import NamedTuple

import ray


class Place(NamedTuple):
    """A process of the cluster."""

    host: str
    process: int
    node: str
    """Ray's id of the node."""

    def __str__(self) -> str:
        """Return the place as messages name it."""
        return f"node {self.host} (process {self.process})"


def this_place() -> Place:
    """Return where this actor is."""
    return Place(socket.gethostname(), os.getpid(), ray.get_runtime_context().get_node_id())
