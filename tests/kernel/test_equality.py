"""The compiled kernel leaves what the sources leave, to the last byte."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.schedulers.engine_options import ENGINES
from tests.actors.matrix import small_study, study_of
from tests.fleet.drawn_fleets import draw_study
from tests.kernel.both import assert_equal, needs_binary, simulation_of
from tests.resumed import assert_survives_drops

pytestmark = needs_binary

ENGINE_CASES = [
    (engine.name, stages, is_caching)
    for engine in ENGINES.entries()
    for stages in ((1, 2) if engine.part.runs_in_stages else (1,))
    for is_caching in ((False, True) if "enable_prefix_caching" in engine.options.model_fields else (False,))
]
LENGTHS = {
    "prompt": {"kind": "lognormal", "mean": 1200, "std": 1000, "min": 2, "max": 6000},
    "output": {"kind": "lognormal", "mean": 80, "std": 80, "min": 1, "max": 400},
}


def loaded(engine: dict[str, Any], stages: int = 1, predictor: dict[str, Any] | None = None, count: int = 120) -> Any:
    """Return a study of two replicas that are short of memory, with conversations that share prefixes."""
    pool = {"model": "llama-3-8b", "device": "h100-sxm", "replicas": 2, "pipeline_parallel": stages, "engine": engine}
    workload = {
        "kind": "sessions",
        "count": count // 4,
        "turns": {"kind": "fixed", "value": 4},
        "think_time_s": {"kind": "fixed", "value": 1},
        "arrivals": {"kind": "poisson", "request_rate": 8},
        "lengths": LENGTHS,
    }
    return study_of(
        name="kernels",
        workload=workload,
        fleet={"pools": [pool]},
        router={"policy": "least_outstanding"},
        run={"series_interval_s": 0.5},
        **({} if predictor is None else {"predictor": predictor}),
    )


@pytest.mark.parametrize(("kind", "stages", "is_caching"), ENGINE_CASES)
def test_engines_are_equal(kind: str, stages: int, is_caching: bool) -> None:
    """Every engine, with two stages and with cached prefixes where it has them."""
    engine: dict[str, Any] = {"kind": kind, "num_kv_blocks": 3000}
    if kind == "static_two_phase":
        engine["batch_timeout_s"] = 0.5
    if is_caching:
        engine["enable_prefix_caching"] = True
    assert_equal(loaded(engine, stages))


@pytest.mark.parametrize("policy", QUEUE_ORDERS.names())
def test_queue_orders_are_equal(policy: str) -> None:
    """Every order of the waiting queue, by an engine that has it."""
    kind = "sglang" if policy in ("lpm", "dfs_weight", "lrs") else "vllm_v1"
    assert_equal(loaded({"kind": kind, "policy": policy, "num_kv_blocks": 3000, "max_num_seqs": 16}, count=80))


@pytest.mark.parametrize("name", ["linear", "physical", "roofline", "two_phase"])
def test_predictors_are_equal(name: str) -> None:
    """Every predictor that needs no files of a user."""
    assert_equal(loaded({}, predictor={"kind": name, **PREDICTORS.get(name).options.example}))


@pytest.mark.parametrize("pipeline_parallel", [1, 2])
@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
def test_policies_are_equal(policy: str, pipeline_parallel: int) -> None:
    """Telemetry, and none, with one and two stages."""
    assert_equal(small_study(policy, pipeline_parallel))


def test_the_trace_is_equal(shared: Path) -> None:
    """2,000 requests of the Azure conversation trace."""
    path = str(shared / "traces" / "azure_llm_2023_conv.csv.gz")
    pool = {"model": "llama-3-8b", "device": "h100-sxm", "replicas": 4}
    workload = {"kind": "trace", "format": "azure", "path": path, "first": 2000}
    assert_equal(study_of(name="trace", workload=workload, fleet={"pools": [pool]}, router={"policy": "round_robin"}))


@pytest.mark.parametrize("seed", range(1000, 1030))
def test_drawn_fleets_are_equal(seed: int) -> None:
    """Random small studies of whole services."""
    assert_equal(study_of(**draw_study(Random(seed))))


@pytest.mark.parametrize("seed", range(2000, 2006))
def test_states_pass_between_the_kernels(seed: int) -> None:
    """A run whose processes are dropped and made again by the other kernel, from a snapshot of the one before."""
    random, study = Random(seed), study_of(**draw_study(Random(seed)))
    kernels = iter(range(1000))

    def build() -> Any:
        return simulation_of(study, is_compiled=bool(next(kernels) % 2))

    assert_survives_drops(build, random.randrange)
