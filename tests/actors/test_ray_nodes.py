"""A Ray cluster of three nodes on this machine, joined by its address: equal results, actors on every node."""

import logging
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from actors.actor_creation import Placement
from actors.connection import OBJECT_STORE_BYTES, ray_cluster
from actors.supervisor import RunObserver, run_actors
from tests.actors.matrix import inline, on_ray, small_study
from tests.engine.phold import Phold
from tests.engine.phold_run import PholdGroup, PholdRun, phold_reference
from tests.engine.star import split

pytestmark = pytest.mark.ray


class LocatedGroup(PholdGroup):
    """Tells its node in place of series."""

    def drain(self) -> str:  # type: ignore[override]
        node: str = ray.get_runtime_context().get_node_id()
        return node


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of three nodes with one CPU each."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()
    logging.getLogger("ray").setLevel(logging.ERROR)


def test_three_nodes_equal_inline(address: str) -> None:
    """A study whose replicas and stages sit on three nodes leaves what the inline executor leaves; PHOLD too."""
    study = small_study("least_loaded", pipeline_parallel=2)
    with ray_cluster(address):
        assert len([node for node in ray.nodes() if node["Alive"]]) == 3
        assert on_ray(study, address, actors=3) == inline(study)
        phold = Phold(processes=6, balls=12, end_ns=1000)
        nodes: list[str] = []
        result = run_actors(PholdRun(phold, LocatedGroup), Placement(split(6, 3)), RunObserver(on_drain=nodes.append))
        assert len(set(nodes)) == 3
        processes = sorted(process for group in result.groups for process in group)
        assert (*result.hub, *(digest for _, digest in processes)) == phold_reference(phold)
