"""Engine kinds before a run: their defaults, the requests they can hold, the options they refuse."""

from dataclasses import dataclass, replace
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.scheduler_limits import SchedulerLimits

GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class KindTraits:
    """One engine kind; None leaves a default to the device."""

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    watermark_ratio: float | None = None
    whole_prompts: bool = False
    """Prompts run in one step, so none may exceed max_num_batched_tokens."""
    reserves_longest: bool = False
    """Every sequence reserves memory for max_model_len tokens."""
    static_batches: bool = False
    """The requests of a batch stay together to its end."""
    can_cache_prefixes: bool = False
    most_stages: int = 1 << 30
    only_block_size: int | None = None


KINDS: Final[dict[str, KindTraits]] = {
    "vllm_v1": KindTraits(can_cache_prefixes=True),
    "vllm_v0": KindTraits(128, 16384, watermark_ratio=0.01, whole_prompts=True),
    "sarathi": KindTraits(128, 512, watermark_ratio=0.01),
    "orca": KindTraits(128, reserves_longest=True),
    "faster_transformer": KindTraits(128, reserves_longest=True, static_batches=True),
    "lightllm": KindTraits(128, 16384, block_size=1, whole_prompts=True, most_stages=1, only_block_size=1),
    "sglang": KindTraits(block_size=1, can_cache_prefixes=True),
    "tensorrt_llm": KindTraits(2048, 8192, block_size=32, can_cache_prefixes=False),
    "static_two_phase": KindTraits(32, most_stages=1, static_batches=True),
}
"""Vidur's defaults for its schedulers; SGLang's and TensorRT-LLM's own; llm-infer's batch of 32."""


def traits_of(kind: str) -> KindTraits:
    """Return the traits of a kind; a scheduler that someone else registered has none of them."""
    return KINDS.get(kind, KindTraits(can_cache_prefixes=True))


def fills_batches(engine: Engine) -> bool:
    """Whether an engine waits, without a time-out, for requests that may never come."""
    return engine.kind == "static_two_phase" and engine.batch_timeout_s is None


def chunk_by_memory(device: Device) -> int:
    """Return SGLang's ``chunked_prefill_size`` for a device (server_args.py)."""
    for gibibytes, tokens in ((35, 2048), (60, 4096), (160, 8192)):
        if device.memory_bytes < gibibytes * GIB:
            return tokens
    return 16384


def kind_defaults(engine: Engine, device: Device) -> dict[str, Any]:
    """Return the kind's own values for settings that the study leaves open."""
    traits = traits_of(engine.kind)
    given = engine.model_fields_set
    chosen: dict[str, Any] = {}
    for name in ("max_num_seqs", "max_num_batched_tokens"):
        value = getattr(traits, name)
        if getattr(engine, name) is None and value is not None:
            chosen[name] = value
    for name in ("block_size", "watermark_ratio"):
        value = getattr(traits, name)
        if name not in given and value is not None:
            chosen[name] = value
    if engine.kind == "sglang" and engine.max_num_batched_tokens is None:
        chosen["max_num_batched_tokens"] = chunk_by_memory(device)
    return chosen


def check_kind(engine: Engine, pipeline_parallel: int) -> None:
    """Raise InputError, with the reason, for a combination that the engine cannot run."""
    kind, traits = engine.kind, traits_of(engine.kind)
    if pipeline_parallel > traits.most_stages:
        raise InputError(f"pipeline_parallel: {kind} runs on one stage only, not {pipeline_parallel}; set 1")
    if traits.only_block_size is not None and engine.block_size != traits.only_block_size:
        raise InputError(
            f"engine.block_size: {kind} keeps its cache by the token, so the block size must be "
            f"{traits.only_block_size}, not {engine.block_size}"
        )
    _check_sglang(engine)
    if engine.enable_prefix_caching and not traits.can_cache_prefixes:
        able = ", ".join(name for name, each in KINDS.items() if each.can_cache_prefixes)
        raise InputError(f"engine.enable_prefix_caching: {kind} has no prefix cache; engines that have one: {able}")
    order = QUEUE_ORDERS.get(engine.policy).part
    if order.needs_radix_tree and kind != "sglang":
        raise InputError(f"engine.policy: {engine.policy} walks sglang's radix tree, which {kind} has not")
    if order.needs_prefix_cache and not engine.enable_prefix_caching:
        raise InputError(f"engine.policy: {engine.policy} orders by cached prefixes; set enable_prefix_caching: true")
    if engine.async_scheduling and kind != "vllm_v1":
        raise InputError(f"engine.async_scheduling: {kind} has no asynchronous scheduling; vllm_v1 has")
    if engine.host_blocks and not (kind == "vllm_v1" and engine.enable_prefix_caching):
        raise InputError(
            "engine.host_blocks: host memory keeps prefixes for vllm_v1 with enable_prefix_caching: true; set 0"
        )
    if engine.disable_hybrid_kv_cache_manager is False and engine.host_blocks:
        raise InputError(
            "engine.disable_hybrid_kv_cache_manager: with host_blocks vLLM keeps whole contexts; leave it out"
        )
    if engine.preemption_mode == "swap" and kind != "vllm_v0":
        raise InputError(f"engine.preemption_mode: {kind} only recomputes; vllm_v0 can swap")
    if engine.adaptive_batch_size and kind != "static_two_phase":
        raise InputError(f"engine.adaptive_batch_size: {kind} does not wait for batches to fill; static_two_phase does")
    if engine.batch_timeout_s is not None and kind != "static_two_phase":
        raise InputError(f"engine.batch_timeout_s: {kind} does not wait for batches to fill; static_two_phase does")


def _check_sglang(engine: Engine) -> None:
    """Raise InputError for options of SGLang that contradict each other, or that another engine has not."""
    is_sglang = engine.kind == "sglang"
    budget = engine.max_num_batched_tokens or engine.block_size
    if is_sglang and budget < engine.block_size:
        raise InputError(
            f"engine.max_num_batched_tokens: sglang cuts chunks in whole pages, and {budget} tokens hold none of "
            f"{engine.block_size} (block_size); raise the one or lower the other"
        )
    if engine.enable_mixed_chunk and not is_sglang:
        raise InputError(
            f"engine.enable_mixed_chunk: batches of {engine.kind} are what they are; sglang has the option"
        )
    if engine.enable_mixed_chunk and not engine.enable_chunked_prefill:
        raise InputError("engine.enable_mixed_chunk: sglang mixes only with enable_chunked_prefill: true")
    if engine.hicache_ratio and not (is_sglang and engine.enable_prefix_caching):
        raise InputError(
            "engine.hicache_ratio: it is a tier behind sglang's radix cache, so it needs kind: sglang and "
            "enable_prefix_caching: true; set 0 (vllm_v1 has host_blocks)"
        )
    if 0 < engine.hicache_ratio <= 1:
        raise InputError(
            f"engine.hicache_ratio: sglang refuses {engine.hicache_ratio:g}, as its host cache must be larger than the "
            "device's; set more than 1, or 0 for none"
        )


def limit_requests(engine: Engine, limits: SchedulerLimits) -> SchedulerLimits:
    """Lower ``max_model_len`` to what the engine can surely serve on an empty replica, so that nothing ever stalls.

    Raises InputError where not even one sequence fits.
    """
    traits = traits_of(engine.kind)
    size, blocks = limits.block_size, limits.kv_blocks
    if traits.reserves_longest and limits.max_model_len // size > blocks:
        raise InputError(
            f"engine.max_model_len: {engine.kind} reserves {limits.max_model_len // size} blocks for every sequence "
            f"and the replica has {blocks}; lower max_model_len to at most {blocks * size}"
        )
    longest = limits.max_model_len
    groups = limits.kv_groups
    if groups is not None:
        # All tokens but the last are computed.
        longest = 1 + groups.longest(blocks, limits.max_num_batched_tokens, size, longest - 1)
    if traits.whole_prompts:
        longest = min(longest, limits.max_num_batched_tokens)
    if engine.kind in {"vllm_v0", "sarathi"}:
        longest = min(longest, (blocks - max(1, int(engine.watermark_ratio * blocks))) * size)
    elif engine.kind == "lightllm":
        longest = min(longest, blocks - 1)
    elif engine.kind == "sglang":
        longest = min(longest, (blocks - 2) * size)
    if longest < 2:
        raise InputError(f"engine.num_kv_blocks: {blocks} blocks of {size} tokens hold no request of {engine.kind}")
    return replace(limits, max_model_len=longest)
