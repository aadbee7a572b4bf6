"""Tasks on a cluster of two nodes: their resources, their actors, and the files that travel with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from actors.environment import prepare_ray
from actors.study_files import file_names
from actors.sweep_tasks import RayTaskPool, ray_task_pool
from actors.task_group import group_actors, own_group
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.launcher import task_executor
from cluster_sim.study.sweep import run_variant
from tests.actors.test_study_files import with_trace
from tests.small_run import small_study


@pytest.fixture(scope="module")
def pool() -> Iterator[RayTaskPool]:
    """A pool on two Ray nodes of two CPUs each; one has no memory to speak of."""
    prepare_ray("the nodes below")  # Or Ray starts their workers at a niceness that starves them beside other programs.
    nodes = Cluster()
    nodes.add_node(num_cpus=2, memory=100 << 20, include_dashboard=False)
    nodes.add_node(num_cpus=2, memory=1 << 30)
    with ray_task_pool(nodes.address) as made:
        yield made
    nodes.shutdown()


def own_resources(study: Study) -> dict[str, float]:
    """Return what the task has of its node."""
    del study
    return dict(ray.get_runtime_context().get_assigned_resources())


def with_group(study: Study) -> tuple[str, int, dict[str, Any]]:
    """Return the executor of the task, the actors of its group, and the row of its run."""
    group = own_group()
    return task_executor(), 0 if group is None else group_actors(group), run_variant(study)


def names_and_bytes(study: Study) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the node, and the names and contents of the files that the study names there."""
    node: str = ray.get_runtime_context().get_node_id()
    return node, [(name, Path(name).read_bytes()) for name in file_names(study)]


def results(pool: RayTaskPool, function: Any, studies: list[Study]) -> list[Any]:
    """Return the results of a function over studies, in their order."""
    numbers = [pool.submit(function, study) for study in studies]
    ended = dict(pool.next_ended() for _ in studies)
    return [ended[number] for number in numbers]


@pytest.mark.ray
def test_a_task_has_the_memory_of_its_run(pool: RayTaskPool, tmp_path: Path) -> None:
    """A run of 1,000 replicas takes one CPU and 250 MiB with 60 kB for each replica."""
    (found,) = results(pool, own_resources, [small_study(tmp_path, "fleet.pools.0.replicas=1000")])
    assert found == {"CPU": 1, "memory": (250 << 20) + 60_000_000}


@pytest.mark.ray
def test_a_run_with_actors_has_a_group(pool: RayTaskPool, tmp_path: Path) -> None:
    """A study with two actors gets a bundle for each, and its row is that of one process; a second such run waits for
    its group without harm, and groups are given back.
    """
    study = small_study(tmp_path, "run.executor=ray", "run.actors=2", "fleet.pools.0.replicas=4")
    assert results(pool, with_group, [study, study]) == [("ray", 2, run_variant(study))] * 2
    states = {group["state"] for group in ray.util.placement_group_table().values()}
    assert states == {"REMOVED"}


@pytest.mark.ray
def test_files_travel_with_tasks(pool: RayTaskPool, tmp_path: Path) -> None:
    """Tasks on the driver's node read the trace where it is, those on the other a copy of it."""
    study = with_trace(tmp_path)
    trace = tmp_path / "trace.csv"
    here = ray.get_runtime_context().get_node_id()
    found = results(pool, names_and_bytes, [study] * 3)
    assert {content for _, ((_, content),) in found} == {trace.read_bytes()}
    assert all((name == str(trace)) == (node == here) for node, ((name, _),) in found)
    assert any(node != here for node, _ in found)
