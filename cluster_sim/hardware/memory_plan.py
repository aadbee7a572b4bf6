"""The memory plan: how many KV blocks a replica has, or why its model does not fit.

Design: the arithmetic of vLLM's start-up.  It may use ``gpu_memory_utilization`` of a GPU's memory; from that go the
weights, the peak of a profiling step over ``max_num_batched_tokens`` tokens with the sampler over ``max_num_seqs``
sequences, and what CUDA and NCCL take outside the allocator; the rest is cut into blocks.  A block holds the layers of
one KV cache group (``kv_groups``): of the largest one on the GPU.  The replica has the fewest blocks of any of its
GPUs.
"""

from dataclasses import dataclass
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_limits import GIB, EngineLimits, limits_of
from cluster_sim.hardware.kv_groups import layer_groups
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.sharding import shard

MIB: Final = 1 << 20
CONTEXT_BYTES: Final = 174 * MIB
"""What CUDA and its libraries take outside the allocator in a process of one GPU, beyond an idle context."""
COLLECTIVE_BYTES: Final = 505 * MIB
"""What NCCL and the custom all-reduce buffers add in a process that is one of several."""
SAMPLER_BYTES_PER_LOGIT: Final = 24
"""fp32 logits, their sorted copy, 64-bit indices and probabilities."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What one GPU's memory holds (the fullest GPU of the replica), and the replica's KV blocks."""

    memory_bytes: int
    """Memory of the GPU."""
    usable_bytes: int
    """Memory times ``gpu_memory_utilization``."""
    weights_bytes: int
    activation_bytes: int
    """Peak of the profiling step."""
    runtime_bytes: int
    """CUDA context and collective buffers."""
    kv_bytes_per_block: int
    """Bytes of one block on one GPU."""
    kv_blocks: int
    """Blocks of the replica, as vLLM reports them (one of them is its null block)."""
    block_size: int
    kv_groups: int = 1
    """KV cache groups that share the blocks."""

    @property
    def kv_tokens(self) -> int:
        """Tokens the cache holds in every group, windows apart; vLLM reports this figure."""
        return self.kv_blocks // self.kv_groups * self.block_size


def plan_memory(
    model: Model,
    device: Device,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    engine: Any = None,
    expert_ranks: int = 1,
) -> MemoryPlan:
    """Return the memory plan of one replica, or of one of the ``expert_ranks`` ranks that share its experts.

    ``engine`` is an EngineLimits or a study's engine block.  Raises InputError, with the numbers, when the model does
    not fit, when fewer than two blocks are left, or for degrees that do not divide heads or layers.
    """
    limits = limits_of(engine, device)
    usable = int(device.memory_bytes * limits.gpu_memory_utilization)
    runtime = CONTEXT_BYTES + (COLLECTIVE_BYTES if tensor_parallel * pipeline_parallel * expert_ranks > 1 else 0)
    plans = [
        _stage_plan(model, device, tensor_parallel, pipeline_parallel, stage, limits, usable, runtime, expert_ranks)
        for stage in range(pipeline_parallel)
    ]
    tightest = min(plans, key=lambda plan: plan.kv_blocks)
    if tightest.kv_blocks < 2:
        raise InputError(_does_not_fit(tightest, model, device, tensor_parallel, pipeline_parallel, limits))
    return tightest


def host_block_us(
    model: Model, device: Device, tensor_parallel: int = 1, pipeline_parallel: int = 1, engine: Any = None
) -> float:
    """Return how long one KV block takes between device and host memory in us: every GPU moves its part over its link
    at once, so the stage with most counts.
    """
    limits = limits_of(engine, device)
    largest = max(
        shard(
            model, tensor_parallel, pipeline_parallel, stage, limits.weight_dtype, limits.kv_cache_dtype
        ).kv_bytes_per_token
        for stage in range(pipeline_parallel)
    )
    return largest * limits.block_size / device.host_bandwidth_bytes_per_s * 1e6


def activation_bytes(model: Model, tensor_parallel: int, limits: EngineLimits) -> int:
    """Return the peak bytes of the profiling step on one GPU.

    The widest point of a layer holds the residual stream, its normed copy and the feed-forward network's gate-and-up
    output with its product (or the attention's query, key, value and output); the sampler comes after it.
    """
    tokens = limits.max_num_batched_tokens
    width = (model.moe_intermediate_size or model.intermediate_size) if model.is_moe else model.intermediate_size
    if model.is_moe:
        width = max(width * model.num_experts_per_tok, model.intermediate_size_mlp or 0)
    attention = model.head_dim * (2 * model.num_attention_heads + 2 * model.num_key_value_heads) / tensor_parallel
    feed_forward = 3 * width / tensor_parallel
    layer = tokens * (2 * model.hidden_size + max(feed_forward, attention)) * 2
    if model.is_moe:
        layer += tokens * model.num_experts_per_tok * model.hidden_size * 2
    sampler = min(limits.max_num_seqs, tokens) * model.vocab_size * SAMPLER_BYTES_PER_LOGIT
    return int(max(layer, sampler + tokens * model.hidden_size * 2))


def _stage_plan(
    model: Model,
    device: Device,
    tensor_parallel: int,
    pipeline_parallel: int,
    stage: int,
    limits: EngineLimits,
    usable: int,
    runtime: int,
    expert_ranks: int,
) -> MemoryPlan:
    part = shard(
        model, tensor_parallel, pipeline_parallel, stage, limits.weight_dtype, limits.kv_cache_dtype, expert_ranks
    )
    groups = layer_groups(model, limits)
    held = range(stage * part.layers, (stage + 1) * part.layers)
    widest = max(sum(layer in held for layer in group) for group in groups)
    block = int(part.kv_bytes_per_token / part.layers * widest) * limits.block_size
    activation = activation_bytes(model, tensor_parallel, limits)
    free = usable - int(part.resident_bytes) - activation - runtime
    return MemoryPlan(
        memory_bytes=device.memory_bytes,
        usable_bytes=usable,
        weights_bytes=int(part.resident_bytes),
        activation_bytes=activation,
        runtime_bytes=runtime,
        kv_bytes_per_block=block,
        kv_blocks=max(0, free // block),
        block_size=limits.block_size,
        kv_groups=len(groups),
    )


def _does_not_fit(plan: MemoryPlan, model: Model, device: Device, tp: int, pp: int, limits: EngineLimits) -> str:
    def gib(count: int) -> str:
        return f"{count / GIB:.1f} GiB"

    needed = plan.weights_bytes + plan.activation_bytes + plan.runtime_bytes
    return (
        f"{model.name} does not fit {device.name} with tensor_parallel {tp} and pipeline_parallel {pp}: each GPU needs "
        f"{gib(plan.weights_bytes)} for weights, {gib(plan.activation_bytes)} for activations and "
        f"{gib(plan.runtime_bytes)} for the runtime, {gib(needed)} in all, and "
        f"{limits.gpu_memory_utilization:g} of its {gib(plan.memory_bytes)} is {gib(plan.usable_bytes)}; "
        "use more GPUs per replica, a smaller dtype or a higher gpu_memory_utilization"
    )
