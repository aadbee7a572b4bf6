"""Needs of runs that are tasks of a cluster."""

from pathlib import Path

import pytest

from cluster_sim.simulation.resources import BASE_BYTES, REPLICA_BYTES
from cluster_sim.simulation.task_needs import TaskNeeds, task_needs
from cluster_sim.study.planning.single_run import RunTask
from cluster_sim.study.replications import ReplicationTask
from tests.small_run import small_study


def test_needs_of_a_study(tmp_path: Path) -> None:
    """Memory grows with the replicas; actors are those that a study on Ray names, never more than replicas."""
    study = small_study(tmp_path, "fleet.pools.0.replicas=100")
    assert task_needs(study) == TaskNeeds(BASE_BYTES + 100 * REPLICA_BYTES, 1, 100)
    asked = small_study(tmp_path, "fleet.pools.0.replicas=100", "run.executor=ray", "run.actors=4")
    assert task_needs(asked).actors == 4
    assert task_needs(RunTask(asked, 3)).actors == 4
    few = small_study(tmp_path, "fleet.pools.0.replicas=3", "run.executor=ray", "run.actors=4")
    assert task_needs(few).actors == 3
    inline = small_study(tmp_path, "run.executor=inline", "run.actors=4")
    assert task_needs(inline).actors == 1


def test_a_scaled_pool_counts_with_all_that_it_may_have(tmp_path: Path) -> None:
    """The bounds of the autoscaler count where they are above the replicas that a run begins with."""
    study = small_study(
        tmp_path,
        "fleet.pools.0.replicas=2",
        "autoscaler={kind: hpa, max_replicas: 30, metrics: [{metric: running, target: 4}]}",
    )
    assert task_needs(study).most_actors == 30


def test_rows_in_memory_stay_in_one_process(tmp_path: Path) -> None:
    """A replication without a summary keeps its rows in the task's process, whatever its study asks for."""
    study = small_study(tmp_path, "fleet.pools.0.replicas=8", "run.executor=ray", "run.actors=4")
    assert task_needs(ReplicationTask(study)) == TaskNeeds(BASE_BYTES + 8 * REPLICA_BYTES)
    assert task_needs("no study") == TaskNeeds()


@pytest.mark.parametrize(
    ("needs", "offered", "expected"),
    [
        (TaskNeeds(BASE_BYTES, 1, 1), 8 << 30, (BASE_BYTES, 1)),
        (TaskNeeds(BASE_BYTES, 1, 1), BASE_BYTES // 2, (BASE_BYTES // 2, 1)),
        (TaskNeeds(BASE_BYTES + 4000, 4, 8), 8 << 30, (BASE_BYTES + 1000, 4)),
        (TaskNeeds(BASE_BYTES + 4000, 1, 8), BASE_BYTES + 1000, (BASE_BYTES + 1000, 4)),
        (TaskNeeds(BASE_BYTES + 4000, 1, 8), BASE_BYTES + 3999, (BASE_BYTES + 2000, 2)),
        (TaskNeeds(BASE_BYTES + 4000, 1, 3), BASE_BYTES + 100, (BASE_BYTES + 100, 3)),
        (TaskNeeds(BASE_BYTES + 4000, 1, 8), 0, (0, 1)),
    ],
)
def test_needs_on_a_cluster(needs: TaskNeeds, offered: int, expected: tuple[int, int]) -> None:
    """A run that no node can hold is spread over as many actors as make it fit; no task asks for more than a node has,
    and for no memory where the nodes offer none.
    """
    found = needs.on_nodes_of(offered)
    assert (found.memory_bytes, found.actors) == expected
