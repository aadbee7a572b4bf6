"""Engine settings with every default resolved, pinned by engine version, device memory and model."""

from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.kv_groups import kv_groups
from cluster_sim.hardware.model import Model
from cluster_sim.serving.engine_kinds import check_kind, kind_defaults, limit_requests
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.hardware_settings import hardware_settings
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.scheduler_limits import SchedulerLimits

ASYNC_SINCE: Final = (0, 14)
"""vLLM plans the next step while one runs, by default, from this version on."""
RESERVE_SINCE: Final = (0, 20)
"""vLLM's ``scheduler_reserve_full_isl`` is on by default from this version on."""
HYBRID_SINCE: Final = (0, 10)
"""vLLM has KV cache groups, so that layers with an attention window keep the window only, from this version on."""
NULL_BLOCKS: Final = 1
"""vLLM v1 sets one block aside as its null block."""
V1_KINDS: Final = ("vllm_v1",)


def version_of(engine: Engine) -> tuple[int, ...]:
    """Return the engine's version as numbers."""
    return tuple(int(part) for part in engine.version.split("."))


def resolve_engine(engine: Engine, device: Device) -> Engine:
    """Return the settings with every null replaced by what the engine itself would choose on ``device``."""
    engine = engine.model_copy(update=kind_defaults(engine, device))
    version = version_of(engine)
    settings = hardware_settings(engine, device)
    is_v1 = engine.kind in V1_KINDS
    chosen = {
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "async_scheduling": is_v1 and version >= ASYNC_SINCE
        if engine.async_scheduling is None
        else engine.async_scheduling,
        "reserve_full_sequence": is_v1 and version >= RESERVE_SINCE
        if engine.reserve_full_sequence is None
        else engine.reserve_full_sequence,
        "disable_hybrid_kv_cache_manager": True
        if engine.disable_hybrid_kv_cache_manager is None and (engine.host_blocks or version < HYBRID_SINCE)
        else engine.disable_hybrid_kv_cache_manager,
    }
    return engine.model_copy(update=chosen)


def scheduler_limits(
    engine: Engine, model: Model, kv_blocks: int, pipeline_parallel: int, *, macro_steps: bool, seed: int = 0
) -> SchedulerLimits:
    """Return what the scheduler must know; ``engine`` is resolved, ``kv_blocks`` comes from the memory plan.

    Raises InputError where the settings contradict each other.
    """
    assert engine.max_num_seqs is not None
    assert engine.max_num_batched_tokens is not None
    max_model_len = engine.max_model_len or model.max_position_embeddings
    check_kind(engine, pipeline_parallel)
    if not engine.enable_chunked_prefill and engine.max_num_batched_tokens < max_model_len:
        raise InputError(
            f"engine.max_num_batched_tokens: {engine.max_num_batched_tokens} is below the context of {max_model_len} "
            "tokens, so without chunked prefill a long prompt could never run; raise it, lower max_model_len, or set "
            "enable_chunked_prefill: true"
        )
    if engine.max_num_seqs > engine.max_num_batched_tokens:
        raise InputError(
            f"engine.max_num_seqs: {engine.max_num_seqs} sequences cannot each get a token from a budget of "
            f"{engine.max_num_batched_tokens} (max_num_batched_tokens); lower the one or raise the other"
        )
    check_extras(engine)
    groups = kv_groups(model, engine, engine.block_size)
    if groups is not None and engine.host_blocks:
        raise InputError(
            f"engine.host_blocks: every layer of {model.name} has a window of {groups.window_tokens} tokens, and host "
            "memory keeps whole prefixes; set 0"
        )
    is_async = bool(engine.async_scheduling) and pipeline_parallel == 1 and engine.speculative is None
    blocks = (engine.num_kv_blocks or kv_blocks) - (NULL_BLOCKS if engine.kind in V1_KINDS else 0)
    limits = SchedulerLimits(
        kv_blocks=blocks,
        block_size=engine.block_size,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_model_len=max_model_len,
        pipeline_parallel=pipeline_parallel,
        batches_in_flight=2 if is_async else pipeline_parallel,
        is_async=is_async,
        can_fast_forward=macro_steps and pipeline_parallel == 1 and engine.speculative is None,
        can_fast_forward_stages=macro_steps and pipeline_parallel > 1 and engine.speculative is None,
        tokens_per_step=1 + (engine.speculative.num_speculative_tokens if engine.speculative else 0),
        seed=seed,
        kv_groups=groups,
    )
    return limit_requests(engine, limits)


def check_extras(engine: Engine) -> None:
    """Refuse drafts and adapters where the engine has none; raises InputError."""
    for name in ("speculative", "lora"):
        if getattr(engine, name) is not None and engine.kind not in V1_KINDS:
            raise InputError(f"engine.{name}: {engine.kind} cannot do that; engines that can: {', '.join(V1_KINDS)}")
    if engine.speculative is not None and QUEUE_ORDERS.get(engine.policy).part.chooses_victims:
        raise InputError(f"engine.speculative: cannot be combined with policy: {engine.policy}; use fcfs")
