"""Commands and values that a plan prints, read back by the imports."""

from pathlib import Path

import pytest
import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.deployment.llm_d_values import PRODUCTS, llm_d_values
from cluster_sim.deployment.server_pool import Choices
from cluster_sim.deployment.vllm_command import serve_command, vllm_flags
from cluster_sim.deployment.vllm_flags import flag_kinds
from cluster_sim.simulation.plan import make_plan
from tests.deployment.imported import imported, written

POOLS = [
    {"model": "llama-3.1-70b", "device": "h100-sxm", "replicas": 5, "tensor_parallel": 4},
    {
        "model": "llama-3.1-8b",
        "device": "h200",
        "replicas": 2,
        "tensor_parallel": 2,
        "pipeline_parallel": 2,
        "engine": {
            "max_model_len": 16384,
            "max_num_seqs": 128,
            "max_num_batched_tokens": 4096,
            "kv_cache_dtype": "fp8",
            "quantization": "fp8",
            "enable_prefix_caching": False,
            "policy": "priority",
        },
    },
    {
        "model": "llama-3.1-8b",
        "device": "h100-sxm",
        "replicas": 1,
        "engine": {"enforce_eager": True, "kv_offload": {"cpu_gib": 7.5}},
    },
]


def planned(pool: dict[str, object]) -> tuple[Pool, frozenset[str]]:
    """Return a pool with its engine's defaults, and the engine options that it sets."""
    study = Study.from_dict(
        {
            "workload": {
                "kind": "synthetic",
                "count": 1,
                "arrivals": {"kind": "poisson", "request_rate": 1},
                "lengths": {"prompt": {"kind": "fixed", "value": 9}, "output": {"kind": "fixed", "value": 9}},
            },
            "fleet": {"pools": [pool]},
        }
    )
    return make_plan(study).pools[0].pool, frozenset(study.fleet.pools[0].engine.model_fields_set)


@pytest.mark.parametrize("pool", POOLS, ids=["plain", "tuned", "eager"])
def test_the_command_gives_the_pool_back(pool: dict[str, object], tmp_path: Path) -> None:
    """Every flag is one of vLLM's, and importing the command gives the pool with its engine's limits."""
    whole, stated = planned(pool)
    names = [flag.removeprefix("--").partition("=")[0] for flag in vllm_flags(whole, stated)]
    assert {name.removeprefix("no-") for name in names} <= set(flag_kinds())
    study, findings = imported(
        "vllm-serve",
        written(tmp_path, serve_command(whole, stated)),
        Choices(device=whole.device, replicas=whole.replicas),
    )
    assert not findings.not_modelled
    back = make_plan(study).pools[0].pool
    assert back.model_copy(update={"name": whole.name}) == whole


@pytest.mark.parametrize("pool", POOLS, ids=["plain", "tuned", "eager"])
def test_the_values_give_the_pool_back(pool: dict[str, object], tmp_path: Path) -> None:
    """Importing the chart's values gives the pool, its device and its replicas included."""
    whole, stated = planned(pool)
    study, _ = imported("llm-d", written(tmp_path, llm_d_values([(whole, stated)]), "values.yaml"), Choices())
    back = make_plan(study).pools[0].pool
    changes = {"name": whole.name, "engine": back.engine.model_copy(update={"version": whole.engine.version})}
    assert back.model_copy(update=changes) == whole


def test_prefill_and_decode_have_roles_of_their_own() -> None:
    """A fleet with prefill apart has both roles with their own replicas."""
    decode, stated = planned(POOLS[0])
    prefill = decode.model_copy(update={"role": "prefill", "replicas": 2})
    values = yaml.safe_load(llm_d_values([(prefill, stated), (decode.model_copy(update={"role": "decode"}), stated)]))
    assert values["prefill"]["replicas"] == 2
    assert values["decode"]["replicas"] == 5
    assert values["decode"]["parallelism"] == {"tensor": 4}


def test_other_engines_have_no_command() -> None:
    """A pool of another engine than vLLM's is refused."""
    whole, stated = planned({**POOLS[0], "engine": {"kind": "sglang"}})
    with pytest.raises(ValueError, match="runs sglang"):
        vllm_flags(whole, stated)


@pytest.mark.parametrize("device", sorted(PRODUCTS))
def test_labels_name_their_devices(device: str, tmp_path: Path) -> None:
    """The label of a device is read back as that device."""
    whole, stated = planned({"model": "llama-3.2-1b", "device": device})
    study, _ = imported("llm-d", written(tmp_path, llm_d_values([(whole, stated)]), "values.yaml"), Choices())
    assert study.fleet.pools[0].device == device
