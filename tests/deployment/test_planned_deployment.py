"""Commands and values that a plan prints, read back by the imports."""

from pathlib import Path

import pytest
import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.deployment.llm_d_values import PRODUCTS, llm_d_values, volume_gib
from cluster_sim.deployment.server_pool import Choices
from cluster_sim.deployment.vllm_command import serve_command, vllm_flags
from cluster_sim.deployment.vllm_flags import flag_kinds
from cluster_sim.hardware.model import load_model
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


def planned(pool: dict[str, object]) -> Pool:
    """Return a pool with its engine's defaults."""
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
    return make_plan(study).pools[0].pool


@pytest.mark.parametrize("pool", POOLS, ids=["plain", "tuned", "eager"])
def test_the_command_gives_the_pool_back(pool: dict[str, object], tmp_path: Path) -> None:
    """Every flag is one of vLLM's, and importing the command gives the pool with its engine's limits."""
    whole = planned(pool)
    names = [flag.removeprefix("--").partition("=")[0] for flag in vllm_flags(whole)]
    assert {name.removeprefix("no-") for name in names} <= set(flag_kinds())
    study, findings = imported(
        "vllm-serve",
        written(tmp_path, serve_command(whole)),
        Choices(device=whole.device, replicas=whole.replicas),
    )
    assert not findings.not_modelled
    back = make_plan(study).pools[0].pool
    assert back.model_copy(update={"name": whole.name}) == whole


@pytest.mark.parametrize("pool", POOLS, ids=["plain", "tuned", "eager"])
def test_the_values_give_the_pool_back(pool: dict[str, object], tmp_path: Path) -> None:
    """Importing the chart's values gives the pool, its device and its replicas included."""
    whole = planned(pool)
    study, _ = imported("llm-d", written(tmp_path, llm_d_values([whole]), "values.yaml"), Choices())
    back = make_plan(study).pools[0].pool
    changes = {"name": whole.name, "engine": back.engine.model_copy(update={"version": whole.engine.version})}
    assert back.model_copy(update=changes) == whole


def test_prefill_and_decode_have_roles_of_their_own() -> None:
    """A fleet with prefill apart has both roles with their own replicas."""
    decode = planned(POOLS[0])
    prefill = decode.model_copy(update={"role": "prefill", "replicas": 2})
    values = yaml.safe_load(llm_d_values([prefill, decode.model_copy(update={"role": "decode"})]))
    assert values["prefill"]["replicas"] == 2
    assert values["decode"]["replicas"] == 5
    assert values["decode"]["parallelism"] == {"tensor": 4}


def test_a_replica_that_no_node_holds_has_a_comment() -> None:
    """Nodes of 8 H100 hold 8 GPUs and not 16, be they 16 ranks or 2 stages of 8; nodes of 16 hold both."""
    base = {"model": "llama-3.1-70b", "device": "h100-sxm"}
    eight = {**base, "tensor_parallel": 8}
    for larger in ({**base, "tensor_parallel": 16}, {**eight, "pipeline_parallel": 2}):
        first = llm_d_values([planned(larger)]).splitlines()[0]
        assert first.startswith("# A replica takes 16 GPUs and a node has 8: no pod of decode is placed as it stands")
        assert llm_d_values([planned({**larger, "node": {"gpus": 16}})]).startswith("modelArtifacts:")
    assert llm_d_values([planned(eight)]).startswith("modelArtifacts:")


@pytest.mark.parametrize("version", ["0.13", "0.15", "0.21", "0.23"])
def test_defaults_that_a_study_states_are_not_printed(version: str) -> None:
    """A value that the version takes by itself has no flag, whether the study states it or not."""
    engine = {"version": version, "kind": "vllm_v1"}
    resolved = planned({"model": "llama-3.1-8b", "device": "h100-sxm", "engine": engine}).engine
    names = ("max_num_seqs", "max_num_batched_tokens", "block_size", "gpu_memory_utilization", "async_scheduling")
    names += ("prefill_schedule_interval", "reserve_full_sequence", "enable_prefix_caching", "enforce_eager")
    stated = engine | {name: getattr(resolved, name) for name in names}
    for one in (engine, stated, stated | {"max_model_len": 131072}):
        pool = planned({"model": "llama-3.1-8b", "device": "h100-sxm", "engine": one})
        assert vllm_flags(pool) == ["--tensor-parallel-size=1"]


def test_values_of_ones_own_are_printed() -> None:
    """Values beside the defaults have their flags, and only they."""
    engine = {"max_num_seqs": 64, "block_size": 32, "gpu_memory_utilization": 0.8, "async_scheduling": False}
    pool = planned({"model": "llama-3.1-8b", "device": "h100-sxm", "engine": engine})
    assert vllm_flags(pool) == [
        "--tensor-parallel-size=1",
        "--max-num-seqs=64",
        "--block-size=32",
        "--no-async-scheduling",
        "--gpu-memory-utilization=0.8",
    ]


@pytest.mark.parametrize("engine", [{"prefill_schedule_interval": 4}, {"reserve_full_sequence": True}])
def test_a_version_without_the_flag_is_named(engine: dict[str, object]) -> None:
    """Version 0.15 has neither flag, so there is no command; newer versions have both."""
    plain = planned({"model": "llama-3.1-8b", "device": "h100-sxm"})

    def of(version: str) -> Pool:
        return plain.model_copy(update={"engine": plain.engine.model_copy(update=engine | {"version": version})})

    with pytest.raises(ValueError, match=r"vLLM 0.15 has no flag for engine\.(prefill|reserve)"):
        vllm_flags(of("0.15"))
    found = "--prefill-schedule-interval=4" in vllm_flags(of("0.23"))
    assert found == ("prefill_schedule_interval" in engine)


def test_the_volume_holds_the_weights() -> None:
    """8.03 billion weights of 2 bytes are 15 GiB, with a fifth beside them 18: 20; 70.6 billion are 131.4, so 160."""
    assert volume_gib(load_model("llama-3.1-8b")) == 20
    assert volume_gib(load_model("llama-3.1-70b")) == 160
    values = yaml.safe_load(llm_d_values([planned(POOLS[0])]))
    assert values["modelArtifacts"]["size"] == "160Gi"


def test_other_engines_have_no_command() -> None:
    """A pool of another engine than vLLM's is refused."""
    whole = planned({**POOLS[0], "engine": {"kind": "sglang"}})
    with pytest.raises(ValueError, match="runs sglang"):
        vllm_flags(whole)


@pytest.mark.parametrize("device", sorted(PRODUCTS))
def test_labels_name_their_devices(device: str, tmp_path: Path) -> None:
    """The label of a device is read back as that device."""
    whole = planned({"model": "llama-3.2-1b", "device": device})
    study, _ = imported("llm-d", written(tmp_path, llm_d_values([whole]), "values.yaml"), Choices())
    assert study.fleet.pools[0].device == device
