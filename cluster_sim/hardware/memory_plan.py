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
from cluster_sim.hardware.kv_groups import full_block_ratio, layer_groups
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import kv_dtype, kv_token_bytes, shard, shards, stage_layers, state_bytes
from cluster_sim.units import GIB

MIB: Final = 1 << 20
CONTEXT_BYTES: Final = 174 * MIB
"""Memory that CUDA and its libraries take outside the allocator in a process of one GPU, beyond an idle context."""
COLLECTIVE_BYTES: Final = 505 * MIB
"""Memory that NCCL and the custom all-reduce buffers add in a process that is one of several."""
BLOCK_STEP: Final = 16
"""Multiple of which the tokens of a block are with vLLM's attention kernels."""
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
    state_groups: int = 0
    """Those of them that hold states: one block of a sequence each."""

    @property
    def kv_tokens(self) -> int:
        """Tokens the cache holds in every group, windows apart; vLLM reports this figure.

        With states: the tokens of one sequence beside its states.
        """
        blocks = max(self.kv_blocks - self.state_groups, 0)
        return blocks // (self.kv_groups - self.state_groups) * self.block_size


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


def most_kv_blocks(hardware: ReplicaHardware) -> tuple[int, int]:
    """Return the most KV blocks that the whole memory of a replica's GPUs holds beside the weights alone, and the bytes
    of one on the GPU that holds fewest; nothing else is left any room.
    """
    plans = [_stage_plan(hardware, stage, runtime_bytes=0) for stage in range(hardware.pipeline_parallel)]
    free = [(plan.memory_bytes - plan.weights_bytes, plan.kv_bytes_per_block) for plan in plans]
    return min((free_bytes // block_bytes, block_bytes) for free_bytes, block_bytes in free)


def host_block_us(hardware: ReplicaHardware) -> float:
    """Return how long one KV block takes between device and host memory in us: every GPU moves its part over its link
    at once, so the stage with most counts.
    """
    largest = max(part.kv_bytes_per_token for part in shards(hardware))
    return largest * hardware.engine.block_size / hardware.device.host_bandwidth_bytes_per_s * 1e6


def host_block_bytes(hardware: ReplicaHardware) -> int:
    """Return the bytes of one KV block in host memory, over all GPUs of a replica."""
    token_bytes = sum(part.kv_bytes_per_token for part in shards(hardware)) * hardware.tensor_parallel
    return round(token_bytes * hardware.engine.block_size)


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
    mixers = (layer.mixer for layer in model.layers)
    attention = max(mixer.activation_width(tensor_parallel) for mixer in mixers if mixer is not None)
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
    block_bytes = _block_bytes(hardware, groups, stage)
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
        state_groups=sum(hardware.model.has_state(group[0]) for group in groups),
    )


def _block_bytes(hardware: ReplicaHardware, groups: list[list[int]], stage: int) -> int:
    """Return the bytes of a block on one GPU of a stage: those of the group with most, to which others are padded."""
    model, engine, tensor_parallel = hardware.model, hardware.engine, hardware.tensor_parallel
    held = stage_layers(model.num_hidden_layers, hardware.pipeline_parallel, stage)
    dtype, ratio = kv_dtype(model, engine.kv_cache_dtype), full_block_ratio(model, engine, tensor_parallel)

    def layer_bytes(index: int) -> float:
        mixer = model.layers[index].mixer
        assert mixer is not None
        if model.has_state(index):
            return state_bytes(model, mixer, tensor_parallel)
        tokens = engine.block_size * (1 if model.is_windowed(index) else ratio)
        return kv_token_bytes(mixer, dtype, tensor_parallel) * tokens

    page = max(layer_bytes(index) for group in groups for index in group)
    padded = any(model.has_state(group[0]) for group in groups)
    sums = [sum(page if padded else layer_bytes(index) for index in group if index in held) for group in groups]
    return max(1, int(max(sums)))


def hybrid_block_size(hardware: ReplicaHardware) -> int:
    """Return the tokens of a block: for a model with states as many, in steps of 16, as fill the bytes of a state, so
    that blocks of both kinds are equally large; never fewer than the engine's.
    """
    model, tensor_parallel = hardware.model, hardware.tensor_parallel
    dtype = kv_dtype(model, hardware.engine.kv_cache_dtype)
    mixers = [layer.mixer for layer in model.layers if layer.mixer is not None]
    state = max(state_bytes(model, mixer, tensor_parallel) for mixer in mixers)
    if not state:
        return hardware.engine.block_size
    token = max(kv_token_bytes(mixer, dtype, tensor_parallel) for mixer in mixers)
    steps = -(-state // (BLOCK_STEP * token))
    return max(hardware.engine.block_size, BLOCK_STEP * int(steps))


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
