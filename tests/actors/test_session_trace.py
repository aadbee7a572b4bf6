"""Recorded sessions under every executor and placement: one digest each."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.schema.study import Study
from tests.actors.matrix import in_memory, inline, on_ray, study_of


@pytest.fixture(name="study")
def _study(shared: Path) -> Study:
    """The trace of 18 requests in six sessions, on four replicas with prefix caches."""
    path = shared / "cases" / "files" / "traces" / "sessions-with-delay.jsonl"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not there")
    engine = {"enable_prefix_caching": True}
    pool = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "replicas": 4, "engine": engine}
    return study_of(
        name="session-trace",
        seed=5,
        workload={"kind": "trace", "path": str(path)},
        fleet={"pools": [pool]},
        router={"policy": "least_outstanding"},
        run={"series_interval_s": 0.5},
    )


def test_groups_and_delays_change_nothing(study: Study) -> None:
    """Groups of every size, called directly and behind frames with random delays, give inline's rows and books."""
    reference = inline(study)
    for groups in ([[0, 1, 2, 3]], [[0], [1], [2], [3]], [[3, 0], [2, 1]]):
        assert in_memory(study, groups, None) == reference, groups
        assert in_memory(study, groups, random.Random(len(groups)).randrange) == reference, groups


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One local cluster for the test that needs one."""
    with ray_cluster(None):
        yield


@pytest.mark.ray
@pytest.mark.acceptance
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
def test_ray_equals_inline(study: Study) -> None:
    """One replica an actor, and two actors, give inline's rows and books."""
    reference = inline(study)
    for placement in ({"replicas_per_actor": 1}, {"actors": 2}):
        assert on_ray(study, **placement) == reference, placement
