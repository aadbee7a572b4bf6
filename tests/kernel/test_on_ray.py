"""Compiled replicas on Ray actors leave what the sources leave inline."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actors.connection import ray_cluster
from actors.ray_executor import RayExecutor
from cluster_sim.kernel.kernels import CompiledKernel
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import inline, small_study
from tests.evidence import evidence_of
from tests.kernel.both import needs_binary

pytestmark = [pytest.mark.ray, needs_binary]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small local cluster for all tests of this module."""
    with ray_cluster(None, num_cpus=2):
        yield


@pytest.mark.parametrize(("pipeline_parallel", "stages"), [(1, "fused"), (2, "fused"), (2, "actors")])
def test_actors_are_equal(pipeline_parallel: int, stages: str) -> None:
    """Every actor has a compiled kernel of its own, with stages in the replica and as actors."""
    study = small_study("least_outstanding", pipeline_parallel)
    settings = study.run.model_copy(update={"actors": 2, "stages": stages})
    simulation = replace(make_plan(study).simulation(), kernel=CompiledKernel(is_required=True))
    assert evidence_of(RayExecutor(settings, None), simulation) == inline(study)
