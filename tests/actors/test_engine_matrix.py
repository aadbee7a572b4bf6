"""Every engine kind on the Azure conversation trace, inline and on Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.study import Study
from cluster_sim.serving.engine_kinds import KINDS
from tests.actors.matrix import inline, on_ray, study_of

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.timeout(900)]

REQUESTS = 2_000

CASES = [
    (kind, stages, is_caching)
    for kind, traits in sorted(KINDS.items())
    for stages in (1, 2)
    for is_caching in (False, True)
    if stages <= traits.most_stages and (traits.can_cache_prefixes or not is_caching)
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster for all tests of this module."""
    with ray_cluster(None):
        yield


def study(shared: Path, kind: str, stages: int, is_caching: bool) -> Study:
    engine: dict[str, Any] = {"kind": kind} | ({"enable_prefix_caching": True} if is_caching else {})
    if kind == "static_two_phase":
        engine["batch_timeout_s"] = 1.0  # Without it the last batch, never full, would wait for ever.
    return study_of(
        name="engines",
        workload={
            "kind": "trace",
            "format": "azure",
            "path": str(shared / "traces" / "azure_llm_2023_conv.csv.gz"),
            "first": REQUESTS,
        },
        fleet={
            "pools": [
                {
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 4,
                    "pipeline_parallel": stages,
                    "engine": engine,
                }
            ]
        },
        router={"policy": "least_outstanding"},
    )


@pytest.mark.parametrize(("kind", "stages", "is_caching"), CASES)
def test_ray_and_single_steps_equal_inline(shared: Path, kind: str, stages: int, is_caching: bool) -> None:
    """2,000 requests: rows, counters and series on two Ray actors are inline's; so are those of single steps."""
    whole = study(shared, kind, stages, is_caching)
    reference = inline(whole)
    if stages == 1:
        single = whole.model_copy(update={"run": whole.run.model_copy(update={"macro_steps": False})})
        assert inline(single) == reference
    assert on_ray(whole, actors=2) == reference
