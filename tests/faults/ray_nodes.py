"""A Ray cluster of several nodes on this machine, whose processes can be killed for real."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.connection import OBJECT_STORE_BYTES
from actors.environment import prepare_ray

TITLES = {"group": "ray::GroupActor", "stage": "ray::StageActor", "router": "ray::RouterActor"}
"""How Ray names the processes of actors."""
NODE: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES // 2}


@dataclass
class RayNodes:
    """The cluster with its worker nodes."""

    cluster: Cluster
    workers: list[Any]

    @property
    def address(self) -> str:
        """Where a driver joins."""
        address: str = self.cluster.address
        return address

    def victims(self, kind: str) -> list[int]:
        """Return the processes of this cluster that are actors of a kind."""
        raylets = {pid for node in (self.cluster.head_node, *self.workers) for pid in raylets_of(node)}
        return sorted(pid for pid, parent, title in processes() if parent in raylets and title.startswith(TITLES[kind]))

    def kill(self, kind: str, random: Random) -> bool:
        """Kill an actor of a kind, or a worker node; False if there is none."""
        if kind == "node":
            if not self.workers:
                return False
            node = self.workers.pop(random.randrange(len(self.workers)))
            kill_raylet(node)
            return True
        found = self.victims(kind)
        if not found:
            return False
        return kill(random.choice(found))

    def replace(self, count: int) -> None:
        """Start worker nodes until there are ``count``, and wait until they have joined."""
        while len(self.workers) < count:
            self.workers.append(self.cluster.add_node(num_cpus=1, **NODE))

    def await_idle(self, limit_s: float = 60.0) -> None:
        """Wait until no actor of an earlier run is left."""
        deadline_s = time.monotonic() + limit_s
        while any(self.victims(kind) for kind in TITLES):
            assert time.monotonic() < deadline_s, f"actors are left after {limit_s:g} s"
            time.sleep(0.2)


@contextmanager
def ray_nodes(workers: int) -> Iterator[RayNodes]:
    """Yield a cluster whose head has no CPU for actors, and ``workers`` nodes with one CPU each."""
    prepare_ray("a cluster of this process")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **NODE})
    nodes = RayNodes(cluster, [])
    try:
        nodes.replace(workers)
        yield nodes
    finally:
        ray.shutdown()
        with suppress(Exception):  # Some of its processes were killed.
            cluster.shutdown()


def raylets_of(node: Any) -> list[int]:
    """Return the raylet of a node of ``ray.cluster_utils``."""
    return [info.process.pid for info in node.all_processes.get("raylet", [])]


def kill_raylet(node: Any) -> None:
    """Kill a node's raylet, with which everything there ends, and what would only keep its memory."""
    for pid in raylets_of(node):
        kill(pid)


def kill(pid: int) -> bool:
    """Kill a process; False if it is gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield (process, parent, title) of every process that can be seen."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                yield int(folder.name), parent, (folder / "cmdline").read_bytes().decode(errors="replace")
