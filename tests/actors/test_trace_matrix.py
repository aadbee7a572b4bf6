"""The real Azure conversation trace under every executor and placement: one digest each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.schema.study import Study
from tests.actors.matrix import inline, on_ray, study_of

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.timeout(900)]

PLACEMENTS: list[dict[str, Any]] = [
    {"replicas_per_actor": 1},
    {"actors": 2},
    {"actors": 3},
    {"actors": 7},
    {"actors": 2, "placement_seed": 11},
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster for all tests of this module."""
    with ray_cluster(None):
        yield


def trace_study(shared: Path, policy: str, pipeline_parallel: int, first: int | None = None) -> Study:
    path = str(shared / "traces" / "azure_llm_2023_conv.csv.gz")
    workload = {"kind": "trace", "format": "azure", "path": path}
    return study_of(
        name="azure-conv",
        seed=42,
        workload=workload if first is None else workload | {"first": first},
        fleet={
            "pools": [
                {
                    "name": "main",
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 8,
                    "pipeline_parallel": pipeline_parallel,
                }
            ]
        },
        router={"policy": policy, "telemetry": {"period_ms": 50.0, "latency_ms": 1.0}},
    )


@pytest.mark.parametrize("pipeline_parallel", [1, 2])
@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
def test_every_placement_equals_inline(shared: Path, policy: str, pipeline_parallel: int) -> None:
    """All 19,366 requests: rows, counters and series of 1, 2, 3, 7 and 8 actors are inline's, shuffled or not; single
    steps give the same as macro-steps.
    """
    study = trace_study(shared, policy, pipeline_parallel)
    reference = inline(study)
    single = study.model_copy(update={"run": study.run.model_copy(update={"macro_steps": False})})
    assert inline(single) == reference
    for placement in PLACEMENTS:
        assert on_ray(study, **placement) == reference, placement


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
def test_stages_as_actors_equal_inline(shared: Path, policy: str) -> None:
    """The first 500 requests with every pipeline stage an actor of its own, one replica an actor and packed."""
    study = trace_study(shared, policy, 2, first=500)
    reference = inline(study)
    for placement in ({"replicas_per_actor": 1}, {"actors": 2}):
        assert on_ray(study, stages="actors", **placement) == reference, placement
