"""Every engine kind on the Azure conversation trace, inline and on Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.schema.study import Study
from cluster_sim.serving.schedulers.engine_options import ENGINES
from tests.actors.matrix import inline, on_ray, study_of

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.timeout(900)]

REQUESTS = 2_000

CASES = [
    (engine.name, stages, is_caching)
    for engine in ENGINES.entries()
    for stages in ((1, 2) if engine.part.runs_in_stages else (1,))
    for is_caching in ((False, True) if "enable_prefix_caching" in engine.options.model_fields else (False,))
]


HOSTED = {"kind": "sglang", "enable_prefix_caching": True, "num_kv_blocks": 60_000, "hicache_ratio": 2.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "mixed": {"kind": "sglang", "enable_prefix_caching": True, "enable_mixed_chunk": True},
    "write_through": HOSTED,
    "write_back": HOSTED | {"hicache_write_policy": "write_back", "enable_mixed_chunk": True},
    "selective": HOSTED | {"hicache_write_policy": "write_through_selective", "block_size": 16, "num_kv_blocks": 4000},
    "adaptive": {"kind": "static_two_phase", "adaptive_batch_size": True},
    **{f"st-{kind}": {"kind": kind, "policy": "st"} for kind in ("vllm_v1", "sarathi", "sglang", "tensorrt_llm")},
}
"""Options of engines that change how batches are made, and a policy that shapes them."""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster for all tests of this module."""
    with ray_cluster(None):
        yield


def study(shared: Path, stages: int, engine: dict[str, Any], model: str = "llama-3-8b") -> Study:
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
                    "model": model,
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
    check(study(shared, stages, {"kind": kind, "enable_prefix_caching": is_caching}), stages)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("option", OPTIONS)
def test_options_change_nothing_either(shared: Path, option: str, stages: int) -> None:
    """The same with mixed chunks, a host tier, sizes that adapt and steps that are shared."""
    if stages > 1 and not ENGINES.get(OPTIONS[option]["kind"]).part.runs_in_stages:
        pytest.skip("this engine runs on one stage")
    check(study(shared, stages, OPTIONS[option]), stages)


WINDOWED: dict[str, tuple[int, dict[str, Any]]] = {
    "counted": (1, {}),
    "cached": (1, {"enable_prefix_caching": True}),
    "tight": (1, {"enable_prefix_caching": True, "num_kv_blocks": 2000, "max_model_len": 8192}),
    "stages": (2, {"enable_prefix_caching": True}),
}
"""Stages and engine settings of a model with KV cache groups."""


@pytest.mark.parametrize("case", WINDOWED)
def test_attention_windows_change_nothing_either(shared: Path, case: str) -> None:
    """The same with gpt-oss-20b, half of whose layers have a window, also where memory is short."""
    stages, engine = WINDOWED[case]
    check(study(shared, stages, engine, "gpt-oss-20b"), stages)


def check(whole: Study, stages: int) -> None:
    """Compare inline with single steps and with two Ray actors."""
    reference = inline(whole)
    if stages == 1:
        single = whole.model_copy(update={"run": whole.run.model_copy(update={"macro_steps": False})})
        assert inline(single) == reference
    assert on_ray(whole, actors=2) == reference
