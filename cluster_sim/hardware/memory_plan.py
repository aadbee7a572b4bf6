"""Memory plan: the KV blocks of a replica, or the numbers of a model that does not fit.

Design: the arithmetic of vLLM's start-up.  It may use ``gpu_memory_utilization`` of a GPU's memory; from that go the
weights, the peak of a profiling step over ``max_num_batched_tokens`` tokens with the sampler over ``max_num_seqs``
sequences, and what CUDA and NCCL take outside the allocator; the rest is cut into blocks.  A block holds the layers of
one KV cache group (``kv_groups``): of the largest one on the GPU.  The replica has the fewest blocks of any of its
GPUs.
"""

from dataclasses import dataclass
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.kv_groups import layer_groups
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shard, shards
from cluster_sim.units import GIB

MIB: Final = 1 << 20
CONTEXT_BYTES: Final = 174 * MIB
"""Memory that CUDA and its libraries take outside the allocator in a process of one GPU, beyond an idle context."""
COLLECTIVE_BYTES: Final = 505 * MIB
"""Memory that NCCL and the custom all-reduce buffers add in a process that is one of several."""
SAMPLER_BYTES_PER_LOGIT: Final = 24
"""fp32 logits, their sorted copy, 64-bit indices and probabilities."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Contents of one GPU's memory (the fullest GPU of the replica), and the replica's KV blocks."""

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


def plan_memory(hardware: ReplicaHardware) -> MemoryPlan:
    """Return the memory plan of one replica, or of one of the data-parallel ranks that share its experts.

    Raises InputError, with the numbers, when the model does not fit, or when fewer than two blocks are left.
    """
    gpus = hardware.tensor_parallel * hardware.pipeline_parallel * hardware.experts.ranks
    runtime_bytes = CONTEXT_BYTES + (COLLECTIVE_BYTES if gpus > 1 else 0)
    plans = [_stage_plan(hardware, stage, runtime_bytes) for stage in range(hardware.pipeline_parallel)]
    tightest = min(plans, key=lambda plan: plan.kv_blocks)
    if tightest.kv_blocks < 2:
        raise InputError(_does_not_fit(tightest, hardware))
    return tightest


def host_block_us(hardware: ReplicaHardware) -> float:
    """Return how long one KV block takes between device and host memory in us: every GPU moves its part over its link
    at once, so the stage with most counts.
    """
    largest = max(part.kv_bytes_per_token for part in shards(hardware))
    return largest * hardware.engine.block_size / hardware.device.host_bandwidth_bytes_per_s * 1e6


def activation_bytes(hardware: ReplicaHardware) -> int:
    """Return the peak bytes of the profiling step on one GPU.

    The widest point of a layer holds the residual stream, its normed copy and the feed-forward network's gate-and-up
    output with its product (or the attention's query, key, value and output); the sampler comes after it.
    """
    model, tensor_parallel = hardware.model, hardware.tensor_parallel
    tokens = hardware.engine.max_num_batched_tokens
    width = (model.moe_intermediate_size or model.intermediate_size) if model.is_moe else model.intermediate_size
    if model.is_moe:
        width = max(width * model.num_experts_per_tok, model.intermediate_size_mlp or 0)
    attention = model.head_dim * (2 * model.num_attention_heads + 2 * model.num_key_value_heads) / tensor_parallel
    feed_forward = 3 * width / tensor_parallel
    layer = tokens * (2 * model.hidden_size + max(feed_forward, attention)) * 2
    if model.is_moe:
        layer += tokens * model.num_experts_per_tok * model.hidden_size * 2
    sampler = min(hardware.engine.max_num_seqs, tokens) * model.vocab_size * SAMPLER_BYTES_PER_LOGIT
    return int(max(layer, sampler + tokens * model.hidden_size * 2))


def _stage_plan(hardware: ReplicaHardware, stage: int, runtime_bytes: int) -> MemoryPlan:
    engine, memory_bytes = hardware.engine, hardware.device.memory_bytes
    usable_bytes = int(memory_bytes * engine.gpu_memory_utilization)
    part = shard(hardware, stage)
    groups = layer_groups(hardware.model, engine)
    held = range(stage * part.layers, (stage + 1) * part.layers)
    widest = max(sum(layer in held for layer in group) for group in groups)
    block_bytes = int(part.kv_bytes_per_token / part.layers * widest) * engine.block_size
    peak_bytes = activation_bytes(hardware)
    free_bytes = usable_bytes - int(part.resident_bytes) - peak_bytes - runtime_bytes
    return MemoryPlan(
        memory_bytes=memory_bytes,
        usable_bytes=usable_bytes,
        weights_bytes=int(part.resident_bytes),
        activation_bytes=peak_bytes,
        runtime_bytes=runtime_bytes,
        kv_bytes_per_block=block_bytes,
        kv_blocks=max(0, free_bytes // block_bytes),
        block_size=engine.block_size,
        kv_groups=len(groups),
    )


def _does_not_fit(plan: MemoryPlan, hardware: ReplicaHardware) -> str:
    def gib(count: int) -> str:
        return f"{count / GIB:.1f} GiB"

    needed = plan.weights_bytes + plan.activation_bytes + plan.runtime_bytes
    return (
        f"{hardware.model.name} does not fit {hardware.device.name} with tensor_parallel {hardware.tensor_parallel} "
        f"and pipeline_parallel {hardware.pipeline_parallel}: each GPU needs "
        f"{gib(plan.weights_bytes)} for weights, {gib(plan.activation_bytes)} for activations and "
        f"{gib(plan.runtime_bytes)} for the runtime, {gib(needed)} in all, and "
        f"{hardware.engine.gpu_memory_utilization:g} of its {gib(plan.memory_bytes)} is {gib(plan.usable_bytes)}; "
        "use more GPUs per replica, a smaller dtype or a higher gpu_memory_utilization"
    )
