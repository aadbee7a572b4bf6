"""Sharding: weights, cache and operations of one GPU under tensor and pipeline parallelism.

Design: a replica is ``pipeline_parallel`` stages of ``tensor_parallel`` GPUs.  Layers are split evenly over the stages,
every projection evenly over the GPUs of a stage; key and value heads are repeated if there are fewer heads than
GPUs.  The first stage also holds the embedding, the last one the head (both, when they are tied).

Data-parallel ranks repeat all of this but the routed experts, which are divided over all ranks: whole (expert
parallelism) or sliced, a GPU has the same bytes, and computes the tokens of every rank with them.
"""

from dataclasses import dataclass

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import DTYPES, Model, weight_bytes
from cluster_sim.hardware.replica_hardware import ReplicaHardware


@dataclass(frozen=True, slots=True)
class Shard:
    """One GPU's part of a model, for one stage."""

    layers: int
    moe_layers: int
    dense_weight_bytes: float
    """Bytes of projections that every step reads: attention, dense feed-forward, shared experts, routers, norms."""
    expert_weight_bytes: float
    """Bytes of all routed experts of the stage."""
    head_weight_bytes: float
    """Bytes of the head, read where tokens are sampled; 0 except in the last stage."""
    embedding_bytes: float
    """Resident bytes of the embedding, of which a step reads only rows; 0 except in the first stage."""
    flops_per_token: float
    """Operations of the projections per token of the layers (two per weight used), the head not counted."""
    head_flops_per_token: float
    """Operations of the head per sampled token."""
    attention_flops_per_pair: float
    """Operations of attention per (query token, key token) pair over the stage's layers."""
    kv_bytes_per_token: float
    """Bytes one token's keys and values take in this GPU's cache over the stage's layers."""
    resident_bytes: float
    """All weights this GPU holds."""


def kv_dtype_bytes(model: Model, kv_cache_dtype: str | None) -> float:
    """Return the bytes of one number in the cache; InputError for an unknown dtype."""
    if kv_cache_dtype is None or kv_cache_dtype == "auto":
        return weight_bytes(model.activation_dtype)
    name = "fp8" if kv_cache_dtype.startswith("fp8") else kv_cache_dtype
    if name not in DTYPES:
        raise InputError(f"unknown kv_cache_dtype {kv_cache_dtype!r}; known: auto, fp8, {', '.join(DTYPES)}")
    return weight_bytes(DTYPES[name])


def shard(hardware: ReplicaHardware, stage: int = 0) -> Shard:
    """Return what one GPU of ``stage`` holds.

    The engine's quantisation concerns the projections, not the embedding, head, norms and routers.  Raises InputError
    for an unknown dtype.
    """
    model, engine, tp = hardware.model, hardware.engine, hardware.tensor_parallel
    pipeline_parallel = hardware.pipeline_parallel
    if engine.weight_dtype is not None and engine.weight_dtype not in DTYPES:
        raise InputError(f"unknown quantization {engine.weight_dtype!r}; known: {', '.join(DTYPES)}")
    layers = model.num_hidden_layers // pipeline_parallel
    moe_layers = _moe_layers_of(model, pipeline_parallel, stage)
    dense_layers = layers - moe_layers
    projection = weight_bytes(hardware.projection_dtype)
    expert_weight = weight_bytes(hardware.expert_dtype)
    plain = weight_bytes(model.activation_dtype)
    attention = _attention_parameters_of(model, tp)
    dense_parameters = (
        layers * attention
        + dense_layers * model.dense_mlp_parameters / tp
        + moe_layers * model.shared_expert_parameters / tp
    )
    small = layers * model.small_parameters_per_layer + moe_layers * (
        model.router_parameters + model.expert_bias_parameters / tp
    )
    expert_parameters = moe_layers * model.experts * model.expert_parameters / tp / hardware.experts.ranks
    used_parameters = dense_parameters + moe_layers * (
        model.num_experts_per_tok * model.expert_parameters / tp + model.router_parameters
    )
    is_first, is_last = stage == 0, stage == pipeline_parallel - 1
    head_bytes = plain * model.embedding_parameters / tp if is_last else 0.0
    embedding_bytes = plain * model.embedding_parameters / tp if is_first else 0.0
    is_shared = model.tie_word_embeddings and is_first and is_last
    dense_bytes = projection * dense_parameters + plain * small
    expert_bytes = expert_weight * expert_parameters
    return Shard(
        layers=layers,
        moe_layers=moe_layers,
        dense_weight_bytes=dense_bytes,
        expert_weight_bytes=expert_bytes,
        head_weight_bytes=head_bytes,
        embedding_bytes=embedding_bytes,
        flops_per_token=2.0 * used_parameters,
        head_flops_per_token=2.0 * model.embedding_parameters / tp if is_last else 0.0,
        attention_flops_per_pair=layers * _flops_per_pair(model) / tp,
        kv_bytes_per_token=layers * model.kv_elements_per_token(tp) * kv_dtype_bytes(model, engine.kv_cache_dtype),
        resident_bytes=dense_bytes
        + expert_bytes
        + head_bytes
        + (0.0 if is_shared else embedding_bytes)
        + (plain * model.extra_parameters / tp if is_first else 0.0),
    )


def shards(hardware: ReplicaHardware) -> list[Shard]:
    """Return what one GPU of every stage holds."""
    return [shard(hardware, stage) for stage in range(hardware.pipeline_parallel)]


def _moe_layers_of(model: Model, pipeline_parallel: int, stage: int) -> int:
    """Return the layers with experts in one stage: the first layers are the dense ones."""
    if not model.is_moe:
        return 0
    per_stage = model.num_hidden_layers // pipeline_parallel
    first, last = stage * per_stage, (stage + 1) * per_stage
    step = model.interleave_moe_layer_step
    return sum(
        1
        for layer in range(first, last)
        if layer >= model.first_k_dense_replace and (layer - model.first_k_dense_replace) % step == step - 1
    )


def _attention_parameters_of(model: Model, tp: int) -> float:
    """Return the attention weights of one layer on one GPU, with repeated heads and latent down-projections."""
    if model.kv_lora_rank is not None:
        repeated = model.hidden_size * (model.kv_lora_rank + model.qk_rope_head_dim)
        repeated += model.hidden_size * (model.q_lora_rank or 0)
        return repeated + (model.attention_parameters - repeated) / tp
    kv_heads = -(-model.num_key_value_heads // tp)
    return model.hidden_size * model.head_dim * (2 * model.num_attention_heads / tp + 2 * kv_heads)


def _flops_per_pair(model: Model) -> float:
    """Return the operations of one layer's attention per (query, key) pair: two for score and value each, per width."""
    if model.kv_lora_rank is not None:
        return 2.0 * model.num_attention_heads * (model.qk_nope_head_dim + model.qk_rope_head_dim + model.v_head_dim)
    return 4.0 * model.num_attention_heads * model.head_dim
