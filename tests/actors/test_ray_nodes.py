"""A Ray cluster of three nodes on this machine, joined by its address: equal results, actors on every node."""

import logging
import re
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest import mock

import pytest
import ray
from ray.cluster_utils import Cluster

from actors.actor_creation import Placement
from actors.connection import OBJECT_STORE_BYTES, ray_cluster
from actors.network import new_keys
from actors.supervisor import RunObserver, run_actors
from tests.actors.matrix import inline, on_ray, small_study
from tests.actors.strangers import raw_connections, zeromq_strangers
from tests.engine.phold import Phold
from tests.engine.phold_run import PholdGroup, PholdRun, phold_reference
from tests.engine.star import split

pytestmark = pytest.mark.ray


class LocatedGroup(PholdGroup):
    """Tells its node in place of series."""

    def drain(self) -> str:  # type: ignore[override]
        node: str = ray.get_runtime_context().get_node_id()
        return node


def listening(ports: range) -> list[str]:
    """Return the endpoints of this machine that listen at IPv4 ports of a range."""
    endpoints = []
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        host, port = line.split()[1].split(":")
        if line.split()[3] == "0A" and int(port, 16) in ports:
            endpoints.append(f"tcp://{sockets.inet_ntoa(bytes.fromhex(host)[::-1])}:{int(port, 16)}")
    return endpoints


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of three nodes with one CPU each."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    logging.getLogger("ray").setLevel(logging.ERROR)


def test_three_nodes_equal_inline(cluster: Cluster) -> None:
    """A study whose replicas and stages sit on three nodes leaves what the inline executor leaves; PHOLD too."""
    study = small_study("least_loaded", pipeline_parallel=2)
    with ray_cluster(cluster.address):
        assert len([node for node in ray.nodes() if node["Alive"]]) == 3
        assert on_ray(study, cluster.address, actors=3) == inline(study)
        phold = Phold(processes=6, balls=12, end_ns=1000)
        nodes: list[str] = []
        result = run_actors(PholdRun(phold, LocatedGroup), Placement(split(6, 3)), RunObserver(on_drain=nodes.append))
        assert len(set(nodes)) == 3
        processes = sorted(process for group in result.groups for process in group)
        assert (*result.hub, *(digest for _, digest in processes)) == phold_reference(phold)


def test_strangers_between_nodes_change_nothing(cluster: Cluster) -> None:
    """Strangers at every TCP socket of a run on three nodes change nothing; no log of Ray has a secret of the run."""
    small = small_study("least_loaded", pipeline_parallel=2)
    # Long enough that strangers reach every process on a fast machine too.
    study = small.model_copy(update={"workload": small.workload.model_copy(update={"count": 1000})})
    ports = range(24_000, 24_100)
    is_over = threading.Event()
    visited: set[str] = set()

    def disturb() -> None:
        with ExitStack() as stack:
            while not is_over.is_set():
                for endpoint in listening(ports):
                    with suppress(OSError):
                        if endpoint not in visited:
                            visited.add(endpoint)
                            stack.enter_context(zeromq_strangers(endpoint, 5))
                        with raw_connections(endpoint, 20):
                            pass

    keys = new_keys()
    stranger = threading.Thread(target=disturb)
    with (
        ray_cluster(cluster.address),
        mock.patch("actors.network.new_keys", return_value=keys),
        mock.patch("actors.supervisor.secrets.token_hex", return_value="name of the run"),
    ):
        stranger.start()
        try:
            evidence = on_ray(study, cluster.address, actors=3, stages="actors", port_range=(ports[0], ports[-1]))
        finally:
            is_over.set()
            stranger.join()
    assert evidence == inline(study)
    assert len(visited) == 1 + 3 + 3 * 2  # The router, the groups' confirmations, the stages.
    assert all("0.0.0.0" not in endpoint for endpoint in visited)
    logs = Path(cluster.head_node.get_logs_dir_path())
    text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in logs.rglob("*") if file.is_file())
    assert re.search(r"router dropped \d+ frames? or connections? of strangers", text)
    for secret in (keys.secret.decode(), keys.public.decode(), "name of the run"):
        assert secret not in text
