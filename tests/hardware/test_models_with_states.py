"""Layers with a state, sparse attention and layers of several shapes: memory plans and step times by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.kv_groups import NO_WINDOW, KvGroups, kv_groups, layer_groups
from cluster_sim.hardware.memory_plan import hybrid_block_size, plan_memory
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.kinds.roofline import RooflineEfficiency, RooflinePredictor
from cluster_sim.hardware.predictors.measured_with import architecture_class
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shard, shards, stage_layers
from cluster_sim.serving.limits_resolution import scheduler_limits
from cluster_sim.serving.schedulers.engine_options import EngineOptions, engine_options
from tests.hardware.replicas import hardware
from tests.small_run import run_small

PERFECT = RooflineEfficiency(1, 1, 1, 1, 1, 0, 0, 0, 0)
SIZES = {"max_num_seqs": 128, "max_num_batched_tokens": 2048}


def with_blocks(model: str, device: str, tensor_parallel: int = 1) -> ReplicaHardware:
    """Return hardware whose blocks are as long as the model's states demand."""
    found = hardware(model, device, tensor_parallel, **SIZES)
    return replace(found, engine=replace(found.engine, block_size=hybrid_block_size(found)))


def test_memory_plan_of_linear_attention_by_hand() -> None:
    """Qwen3-Next on two H200: a state is 3 * 4,096 numbers of 2 bytes and 16 heads of 128 * 128 of 4; a token takes
    1,024 bytes a layer, so 1,056 tokens make a block as large.  Groups of 12 layers: one of attention, three of states.
    """
    found = with_blocks("qwen3-next-80b-a3b", "h200", 2)
    state = 3 * 4096 * 2 + 16 * 128 * 128 * 4
    assert state == 1_073_152
    assert found.engine.block_size == 1056 == 16 * -(-state // (16 * 1024))
    plan = plan_memory(found)
    assert plan.kv_bytes_per_block == 12 * 1056 * 1024
    assert (plan.kv_groups, plan.state_groups) == (4, 3)
    left = plan.usable_bytes - plan.weights_bytes - plan.activation_bytes - plan.runtime_bytes
    assert plan.kv_blocks == left // (12 * 1056 * 1024)
    assert plan.kv_tokens == (plan.kv_blocks - 3) * 1056
    part = shard(found)
    assert (part.kv_bytes_per_token, part.state_bytes) == (12 * 1024, 36 * state)


def test_memory_plan_of_a_mamba_hybrid_by_hand() -> None:
    """Nemotron-H-8B on an H100: 24 Mamba and 4 attention layers make 6 groups of states and one of attention; a state
    is 3 * 10,240 numbers of 2 bytes and 128 * 64 * 128 of 4; layers without mixer are in no group.
    """
    found = with_blocks("nemotron-h-8b", "h100-sxm")
    state = 3 * (128 * 64 + 2 * 8 * 128) * 2 + 128 * 64 * 128 * 4
    assert found.engine.block_size == 1040 == 16 * -(-state // (16 * 4096))
    plan = plan_memory(found)
    assert plan.kv_bytes_per_block == 4 * 1040 * 4096
    assert (plan.kv_groups, plan.state_groups) == (7, 6)
    groups = layer_groups(found.model, found.engine)
    assert sorted(layer for group in groups for layer in group) == [
        layer for layer, kind in enumerate(found.model.layer_types) if kind != "none"
    ]
    assert kv_groups(found.model, found.engine, 1040) == KvGroups(1, 0, NO_WINDOW, sequence_blocks=6)
    assert kv_groups(found.model, found.engine, 1040, 1, 3) == KvGroups(1, 0, NO_WINDOW, sequence_blocks=18)


def test_decode_step_of_a_mamba_hybrid_by_hand() -> None:
    """A decode reads 15.1 GB of weights, 16,384 bytes a cached token, and reads and writes 102 MB of states a
    sequence.
    """
    device = load_device("h100-sxm")
    predictor = RooflinePredictor(hardware("nemotron-h-8b", device), PERFECT)
    inner, convolved = 8192, 8192 + 2 * 8 * 128
    mamba = 4096 * (inner + convolved + 128) + inner * 4096
    small = convolved * 5 + 3 * 128 + inner
    attention = 4096 * 128 * (2 * 32 + 2 * 8)
    network = 2 * 4096 * 21504
    weights = 2 * (24 * (mamba + small) + 4 * attention + 24 * network + 52 * 4096 + 131072 * 4096)
    states = 24 * (3 * convolved * 2 + 128 * 64 * 128 * 4)
    activations = 4 * 26 * 4096 * 2 * 4
    moved = weights + activations + 4000 * 4 * 4096 + 4 * 2 * states
    seconds = moved / device.memory_bandwidth_bytes_per_s
    assert predictor.step_ns(BatchShape(4, 4000)) == pytest.approx(seconds * 1e9, abs=2)


def test_decode_step_of_linear_attention_by_hand() -> None:
    """A decode of Qwen3-Next reads what a token uses of the weights (10 of 512 experts), 24,576 bytes a cached token,
    and reads and writes 77 MB of states.
    """
    device = load_device("h200")
    predictor = RooflinePredictor(hardware("qwen3-next-80b-a3b", device), PERFECT)
    attention = 2048 * 256 * (2 * 16 + 2 * 2) + 16 * 256 * 2048
    keys, values = 16 * 128, 32 * 128
    delta = 2048 * (2 * keys + 2 * values + 2 * 32) + values * 2048
    small = (2 * keys + values) * 4 + 2 * 32 + 128
    shared, router, expert = 3 * 2048 * 512, 2048 * 512, 3 * 2048 * 512
    dense = 12 * (attention + 2 * 256) + 36 * (delta + small) + 48 * (shared + router + 2 * 2048) + 151936 * 2048
    states = 36 * (3 * (2 * keys + values) * 2 + 32 * 128 * 128 * 4)
    activations = 4 * 48 * 2048 * 2
    moved = 2 * (dense + 48 * 10 * expert) + activations + 5000 * 12 * 2 * 2 * 256 * 2 + 2 * states
    seconds = moved / device.memory_bandwidth_bytes_per_s
    assert predictor.step_ns(BatchShape(1, 5000)) == pytest.approx(seconds * 1e9, rel=1e-6)


def test_classes_of_architectures() -> None:
    """Measurements of ordinary models do not cover models with states or sparse attention."""
    names = ("llama-3.1-8b", "nemotron-h-8b", "qwen3-next-80b-a3b", "deepseek-v3", "deepseek-v3.2")
    assert [architecture_class(load_model(name)) for name in names] == [
        "dense",
        "dense, states in some layers",
        "experts, states in some layers",
        "experts, latent attention",
        "experts, sparse latent attention",
    ]


def test_prompts_work_on_states() -> None:
    """Behind a prompt of 1,000 tokens each costs six operations a number of the states, whatever went before."""
    device = load_device("h100-sxm")
    predictor = RooflinePredictor(hardware("nemotron-h-8b", device), PERFECT)
    states = 24 * 6 * 128 * 64 * 128
    pairs = 2 * 2 * 4 * 32 * 128
    early, late = predictor.chunk_cost(1000, 0, 0), predictor.chunk_cost(1000, 4000, 0)
    assert early == pytest.approx((999 * states + 1000 * 500.5 * pairs) / 989.4e12 * 1e9)
    assert late - early == pytest.approx(1000 * 4000 * pairs / 989.4e12 * 1e9)


def test_sparse_attention_reads_what_its_indexer_chooses() -> None:
    """DeepSeek-V3.2: up to 2,048 tokens both grow with the context, beyond them the index keys of 132 bytes alone."""
    device = load_device("b200")
    predictor = RooflinePredictor(hardware("deepseek-v3.2", device, 8), PERFECT)
    part = shard(hardware("deepseek-v3.2", device, 8))
    assert part.kv_bytes_per_token == 61 * (576 * 2 + 132)
    index_ns = 61 * max(132 / device.memory_bandwidth_bytes_per_s, 2 * 64 * 128 / device.peak_flops("bf16")) * 1e9
    main_ns = 61 * max(1152 / device.memory_bandwidth_bytes_per_s, 2 * 128 * 320 / 8 / device.peak_flops("bf16")) * 1e9
    for start, slope in ((0, index_ns + main_ns), (4000, index_ns)):
        grown = predictor.step_ns(BatchShape(1, start + 1000)) - predictor.step_ns(BatchShape(1, start))
        assert grown == pytest.approx(1000 * slope, abs=2)
    fp8 = hardware("deepseek-v3.2", device, 8, kv_cache_dtype="fp8")
    assert shard(fp8).kv_bytes_per_token == 61 * (656 + 132)


def test_stages_of_uneven_pipelines() -> None:
    """61 layers on 4 stages: vLLM gives 15, 15, 16 and 15; 10 on 4 are 2, 3, 3 and 2.  Every layer has one stage."""
    assert [len(stage_layers(61, 4, stage)) for stage in range(4)] == [15, 15, 16, 15]
    assert [len(stage_layers(10, 4, stage)) for stage in range(4)] == [2, 3, 3, 2]
    assert [layer for stage in range(4) for layer in stage_layers(61, 4, stage)] == list(range(61))
    whole = shard(hardware("deepseek-v3", "b200", 8))
    parts = shards(hardware("deepseek-v3", "b200", 8, 4))
    assert [part.layers for part in parts] == [15, 15, 16, 15]
    assert [part.moe_layers for part in parts] == [12, 15, 16, 15]
    assert sum(part.expert_weight_bytes for part in parts) == pytest.approx(whole.expert_weight_bytes)
    assert sum(part.kv_bytes_per_token for part in parts) == whole.kv_bytes_per_token


def limits_of(engine: EngineOptions, model: str) -> None:
    """Resolve an engine for a model."""
    loaded = load_model(model)
    scheduler_limits(engine.resolved(load_device("h200"), loaded), loaded, 1000, 1, macro_steps=True)


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        (
            "vllm_v1",
            {"enable_prefix_caching": True},
            "enable_prefix_caching: qwen3-next-80b-a3b has",
        ),
        ("vllm_v1", {"disable_hybrid_kv_cache_manager": True}, "disable_hybrid_kv_cache_manager: qwen3-next"),
        ("vllm_v1", {"version": "0.9"}, "needs groups of the KV cache; leave it out, with a version of at least 0.10"),
        ("sglang", {}, "36 layers with a state of constant size.* engines that are: vllm_v1"),
    ],
)
def test_what_cannot_be_had_with_states(kind: str, options: dict[str, object], complaint: str) -> None:
    """Prefix caching is off in vLLM for such models, and their cache needs groups; other engines are refused."""
    with pytest.raises(InputError, match=complaint):
        limits_of(engine_options(kind, **options), "qwen3-next-80b-a3b")


@pytest.mark.parametrize(
    ("model", "tensor_parallel", "blocks"),
    [("qwen3-next-80b-a3b", 2, 40), ("nemotron-h-8b", 2, 40), ("gemma-3-27b", 2, 900), ("deepseek-v3.2", 8, 80)],
)
def test_runs_do_not_depend_on_the_form_of_their_steps(
    tmp_path: Path, model: str, tensor_parallel: int, blocks: int
) -> None:
    """With little memory fast-forwarded and single steps give the same digest, and every request ends."""
    chosen = (
        f"fleet.pools.0.model={model}",
        "fleet.pools.0.device=b200",
        f"fleet.pools.0.tensor_parallel={tensor_parallel}",
        f"fleet.pools.0.engine.num_kv_blocks={blocks}",
        "workload.count=60",
    )
    runs = [run_small(tmp_path, *chosen, f"run.macro_steps={form}") for form in ("true", "false")]
    assert runs[0].digest == runs[1].digest
    assert runs[0].summary["requests"]["finished"] == 60


def test_blocks_of_layers_with_different_heads(shared: Path, tmp_path: Path) -> None:
    """Gemma 4: a sliding layer keeps 4,096 numbers a token and a full one 2,048, so a full block holds 32 tokens where
    a sliding one holds 16: 100 tokens take 7 blocks in each of five groups and 4 in the sixth.
    """
    path = shared / "cases/files/models/moe-top-k-experts/config.json"
    model = load_model(str(path))
    groups = kv_groups(model, hardware(model).engine, 16)
    assert groups == KvGroups(1, 5, 1024, full_ratio=2)
    assert groups.blocks_for(100, 16) == 5 * 7 + 4
    assert plan_memory(hardware(model, **SIZES)).kv_bytes_per_block == 16 * 5 * 4096 * 2
    chosen = (f"fleet.pools.0.model={path}", "fleet.pools.0.engine.num_kv_blocks=1500", "workload.count=60")
    runs = [run_small(tmp_path, *chosen, f"run.macro_steps={form}") for form in ("true", "false")]
    assert runs[0].digest == runs[1].digest
    assert runs[0].summary["requests"]["finished"] == 60
