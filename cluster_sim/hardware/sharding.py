"""Sharding: weights, cache, states and operations of one GPU under tensor and pipeline parallelism.

Design: a replica is ``pipeline_parallel`` stages of ``tensor_parallel`` GPUs.  Layers are split over the stages as vLLM
does, every projection evenly over the GPUs of a stage; key and value heads are repeated if there are fewer heads than
GPUs.  The first stage also holds the embedding, the last one the head (both, when they are tied).

Data-parallel ranks repeat all of this but the routed experts, which are divided over all ranks: whole (expert
parallelism) or sliced, a GPU has the same bytes, and computes the tokens of every rank with them.
"""

from dataclasses import dataclass

from cluster_sim.errors import InputError
from cluster_sim.hardware.layers.layer import Layer
from cluster_sim.hardware.layers.mixer import Mixer, Part
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.precision import DTYPES, weight_bytes
from cluster_sim.hardware.replica_hardware import ReplicaHardware

FP8_LATENT_SCALE_BYTES = 80
"""What vLLM's fp8 cache of sparse latent attention has beyond a byte a number: rotated keys in 16 bits, and scales."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One GPU's part of a model, for one stage."""

    layers: float
    """Layers; one with a mixer or a network only counts half."""
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
    windowed_kv_ratio: float = 0.0
    """Share of ``kv_bytes_per_token`` of which a token reads at most a window, or what an indexer chooses."""
    windowed_pairs_ratio: float = 0.0
    """Share of ``attention_flops_per_pair`` that a window bounds, or the choice of an indexer."""
    state_bytes: float = 0.0
    """Bytes that a sequence's states of constant size take over the stage's layers."""
    state_flops_per_token: float = 0.0
    """Operations on these states per token."""


def stage_layers(layers: int, pipeline_parallel: int, stage: int) -> range:
    """Return the layers of a stage by vLLM's rule: what is left over goes to the stages before the last, last first."""
    layers_each, rest = divmod(layers, pipeline_parallel)
    counts = [layers_each] * pipeline_parallel
    for index in range(2, rest + 2):
        counts[-index] += 1
    first = sum(counts[:stage])
    return range(first, first + counts[stage])


def kv_dtype(model: Model, kv_cache_dtype: str | None) -> str:
    """Return the type of the cache in our names; InputError for an unknown one."""
    if kv_cache_dtype is None or kv_cache_dtype == "auto":
        return DTYPES[model.kv_cache_dtype] if model.kv_cache_dtype else model.activation_dtype
    name = "fp8" if kv_cache_dtype.startswith("fp8") else kv_cache_dtype
    if name not in DTYPES:
        raise InputError(f"unknown kv_cache_dtype {kv_cache_dtype!r}; known: auto, fp8, {', '.join(DTYPES)}")
    return DTYPES[name]


def kv_token_bytes(mixer: Mixer, dtype: str, tensor_parallel: int) -> float:
    """Return the bytes of one token of one layer in the cache of one GPU."""
    scales = FP8_LATENT_SCALE_BYTES if mixer.index_key_bytes and dtype == "fp8" else 0
    return mixer.kv_elements(tensor_parallel) * weight_bytes(dtype) + scales + mixer.index_key_bytes


def state_bytes(model: Model, mixer: Mixer, tensor_parallel: int) -> float:
    """Return the bytes of one sequence's state of one layer on one GPU."""
    state = mixer.state(tensor_parallel)
    return state.convolution * weight_bytes(model.activation_dtype) + state.recurrent * model.state_element_bytes


def shard(hardware: ReplicaHardware, stage: int = 0) -> Shard:
    """Return what one GPU of ``stage`` holds.

    The engine's quantisation concerns the projections, not the embedding, head, norms and routers.  Raises InputError
    for an unknown dtype.
    """
    model, engine, tp = hardware.model, hardware.engine, hardware.tensor_parallel
    if engine.weight_dtype is not None and engine.weight_dtype not in DTYPES:
        raise InputError(f"unknown quantization {engine.weight_dtype!r}; known: {', '.join(DTYPES)}")
    held = stage_layers(model.num_hidden_layers, hardware.pipeline_parallel, stage)
    layers = [model.layers[index] for index in held]
    plain = weight_bytes(model.activation_dtype)
    dense, expert_bytes = _weights(hardware, layers)
    is_first, is_last = stage == 0, stage == hardware.pipeline_parallel - 1
    head_bytes = hardware.weight_bytes("head") * model.embedding_parameters / tp if is_last else 0.0
    embedding_bytes = plain * model.embedding_parameters / tp if is_first else 0.0
    is_shared = model.tie_word_embeddings and is_first and is_last
    cache = _Cache.of(hardware, held)
    mixers = [layer.mixer for layer in layers if layer.mixer is not None]
    return Shard(
        layers=sum(layer.halves for layer in layers) / 2,
        moe_layers=sum(layer.experts is not None for layer in layers),
        dense_weight_bytes=dense,
        expert_weight_bytes=expert_bytes,
        head_weight_bytes=head_bytes,
        embedding_bytes=embedding_bytes,
        flops_per_token=2.0 * _used_parameters(layers, tp),
        head_flops_per_token=2.0 * model.embedding_parameters / tp if is_last else 0.0,
        attention_flops_per_pair=cache.pair_flops,
        kv_bytes_per_token=cache.token_bytes,
        resident_bytes=dense
        + expert_bytes
        + head_bytes
        + (0.0 if is_shared else embedding_bytes)
        + (plain * model.extra_parameters / tp if is_first else 0.0),
        windowed_kv_ratio=cache.windowed_bytes / cache.token_bytes if cache.token_bytes else 0.0,
        windowed_pairs_ratio=cache.windowed_flops / cache.pair_flops if cache.pair_flops else 0.0,
        state_bytes=sum(state_bytes(model, mixer, tp) for mixer in mixers),
        state_flops_per_token=sum(mixer.state_flops for mixer in mixers) / tp,
    )


def shards(hardware: ReplicaHardware) -> list[Shard]:
    """Return what one GPU of every stage holds."""
    return [shard(hardware, stage) for stage in range(hardware.pipeline_parallel)]


def _weights(hardware: ReplicaHardware, layers: list[Layer]) -> tuple[float, float]:
    """Return the bytes of dense weights and of routed experts of a stage on one GPU."""
    model, tp = hardware.model, hardware.tensor_parallel
    counts: dict[Part, float] = {}
    small = 0.0
    for layer in layers:
        if layer.mixer is not None:
            part = layer.mixer.part
            counts[part] = counts.get(part, 0.0) + layer.mixer.parameters_on_gpu(tp)
        small += layer.small_parameters(model.hidden_size)
        experts = layer.experts
        if experts is not None:
            routed = experts.experts * experts.expert_parameters / tp / hardware.experts.ranks
            counts["experts"] = counts.get("experts", 0.0) + routed
            counts["shared_experts"] = counts.get("shared_experts", 0.0) + experts.shared_parameters / tp
            small += experts.router_parameters + experts.bias_parameters / tp
        elif layer.network is not None:
            counts["mlp"] = (
                counts.get("mlp", 0.0) + sum(projection.parameters for projection in layer.network.projections()) / tp
            )
    expert_bytes = hardware.weight_bytes("experts") * counts.pop("experts", 0.0)
    dense = sum(hardware.weight_bytes(part) * count for part, count in counts.items())
    return dense + weight_bytes(model.activation_dtype) * small, expert_bytes


def _used_parameters(layers: list[Layer], tp: int) -> float:
    """Return the weights of a stage that one token uses on one GPU."""
    used = 0.0
    for layer in layers:
        if layer.mixer is not None:
            used += layer.mixer.parameters_on_gpu(tp)
        experts = layer.experts
        if experts is not None:
            used += (experts.experts_per_token * experts.expert_parameters + experts.shared_parameters) / tp
            used += experts.router_parameters
        elif layer.network is not None:
            used += sum(projection.parameters for projection in layer.network.projections()) / tp
    return used


@dataclass(frozen=True, slots=True)
class _Cache:
    """Bytes and operations of a stage's attention, and what windows bound of them."""

    token_bytes: float = 0.0
    windowed_bytes: float = 0.0
    pair_flops: float = 0.0
    windowed_flops: float = 0.0

    @classmethod
    def of(cls, hardware: ReplicaHardware, held: range) -> "_Cache":
        model, tp = hardware.model, hardware.tensor_parallel
        dtype = kv_dtype(model, hardware.engine.kv_cache_dtype)
        token_bytes = windowed_bytes = pair_flops = windowed_flops = 0.0
        for index in held:
            mixer = model.layers[index].mixer
            if mixer is None or not mixer.keeps_tokens:
                continue
            own_bytes, own_flops = kv_token_bytes(mixer, dtype, tp), mixer.pair_flops / tp
            token_bytes += own_bytes
            pair_flops += own_flops + mixer.index_pair_flops
            if model.is_windowed(index) or model.indexer is not None:
                windowed_bytes += own_bytes - mixer.index_key_bytes
                windowed_flops += own_flops
        return cls(token_bytes, windowed_bytes, pair_flops, windowed_flops)
