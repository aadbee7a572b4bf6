"""Engines before a run: the scheduler's limits, and combinations that an engine cannot run."""

from dataclasses import replace
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.memory_plan import host_block_bytes
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.serving.schedulers.vllm_options import VllmV1Options
from cluster_sim.shown_values import by_number, counted

UNLIMITED: Final = 1 << 60
"""Token budget of an engine that has none."""


def scheduler_limits(
    engine: EngineOptions,
    model: Model,
    kv_blocks: int,
    pipeline_parallel: int,
    *,
    macro_steps: bool,
    seed: int = 0,
    tensor_parallel: int = 1,
) -> SchedulerLimits:
    """Return what the scheduler must know; ``engine`` is resolved, ``kv_blocks`` comes from the memory plan.

    Raises InputError if the settings contradict each other.
    """
    assert engine.max_num_seqs is not None
    scheduler = ENGINES.get(engine.kind).part
    max_model_len = engine.context_tokens(model)
    if model.state_layers and not engine.keeps_states:
        able = ", ".join(
            entry.name
            for entry in ENGINES.entries()
            if issubclass(entry.options, EngineOptions) and entry.options.keeps_states
        )
        raise InputError(
            f"engine.kind: {model.name} has {model.state_layers} layers with a state of constant size, which "
            f"{engine.kind} is not modelled with; engines that are: {able}"
        )
    if engine.refuses_positions and max_model_len > model.max_position_embeddings:
        raise InputError(
            f"engine.max_model_len: {engine.kind} does not start with {max_model_len} tokens, beyond the "
            f"{model.max_position_embeddings} positions of {model.name}; set at most {model.max_position_embeddings}"
        )
    _check_abilities(engine, scheduler, pipeline_parallel)
    engine.check()
    if engine.token_budget is not None:
        _check_budget(engine, engine.token_budget, max_model_len)
    is_async = engine.plans_ahead and pipeline_parallel == 1 and not engine.draft_tokens
    groups = engine.kv_groups(model, tensor_parallel)
    # Blocks of different numbers of tokens are counted in single steps only.
    can_fast_forward = macro_steps and not engine.draft_tokens and (groups is None or groups.full_ratio == 1)
    limits = SchedulerLimits(
        kv_blocks=(engine.num_kv_blocks or kv_blocks) - scheduler.null_blocks,
        block_size=engine.block_size,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=UNLIMITED if engine.token_budget is None else engine.token_budget,
        max_model_len=max_model_len,
        pipeline_parallel=pipeline_parallel,
        batches_in_flight=2 if is_async else pipeline_parallel,
        is_async=is_async,
        can_fast_forward=can_fast_forward and pipeline_parallel == 1,
        can_fast_forward_stages=can_fast_forward and pipeline_parallel > 1,
        tokens_per_step=1 + engine.draft_tokens,
        seed=seed,
        kv_groups=groups,
    )
    if engine.refuses_small_cache and engine.num_kv_blocks is None:
        _check_cache(engine, limits, kv_blocks)
    return replace(limits, max_model_len=_longest_request(engine, scheduler, limits))


def sized_for_host(engine: EngineOptions, hardware: ReplicaHardware) -> EngineOptions:
    """Return the options with the KV blocks that the offloading connector's host memory holds.

    Raises InputError if it holds none, or if ``host_blocks`` is set beside it.
    """
    if not isinstance(engine, VllmV1Options) or engine.kv_offload is None:
        return engine
    if engine.host_blocks:
        raise InputError("engine.host_blocks: kv_offload sizes the host memory already; set one of the two")
    block_bytes = host_block_bytes(hardware)
    blocks = engine.kv_offload.host_blocks(block_bytes)
    if not blocks:
        raise InputError(
            f"engine.kv_offload.cpu_gib: {engine.kv_offload.cpu_gib:g} GiB hold no KV block of {block_bytes:,} bytes; "
            "raise it or leave kv_offload out"
        )
    return engine.model_copy(update={"host_blocks": blocks})


def _check_budget(engine: EngineOptions, budget: int, max_model_len: int) -> None:
    """Raise InputError for a token budget with which something could never run."""
    if not engine.chunks_prompts and budget < max_model_len:
        raise InputError(
            f"engine.max_num_batched_tokens: {budget} is below the context of {max_model_len} tokens, so without "
            "chunked prefill a long prompt could never run; raise it, lower max_model_len, or set "
            "enable_chunked_prefill: true"
        )
    assert engine.max_num_seqs is not None
    if engine.max_num_seqs > budget:
        raise InputError(
            f"engine.max_num_seqs: {engine.max_num_seqs} sequences cannot each get a token from a budget of {budget} "
            "(max_num_batched_tokens); lower the one or raise the other"
        )


def _check_cache(engine: EngineOptions, limits: SchedulerLimits, kv_blocks: int) -> None:
    """Raise InputError if ``kv_blocks`` blocks of the memory plan hold no request of the longest context."""
    size, longest = limits.block_size, limits.max_model_len
    if limits.kv_groups is None:
        fits = kv_blocks * size
    else:
        fits = limits.kv_groups.longest(kv_blocks, limits.max_num_batched_tokens, size, longest)
    if fits < longest:
        raise InputError(
            f"engine.max_model_len: {engine.kind} does not start: its KV cache of {counted(kv_blocks, 'block')} does "
            f"not hold one request of {longest} tokens, only of {fits}; set max_model_len to at most {fits}, raise "
            "gpu_memory_utilization, or give a replica more GPUs"
        )


def _check_abilities(engine: EngineOptions, scheduler: type[Scheduler], pipeline_parallel: int) -> None:
    """Raise InputError, with the reason, for what the engine has not."""
    kind, order = engine.kind, QUEUE_ORDERS.get(engine.policy).part
    if pipeline_parallel > 1 and not scheduler.runs_in_stages:
        raise InputError(f"pipeline_parallel: {kind} runs on one stage only, not {pipeline_parallel}; set 1")
    if order.needs_radix_tree and not scheduler.has_radix_tree:
        able = ", ".join(entry.name for entry in ENGINES.entries() if entry.part.has_radix_tree)
        raise InputError(
            f"engine.policy: {engine.policy} walks a radix tree, which {kind} has not; engines that have one: {able}"
        )
    if order.needs_prefix_cache and not engine.caches_prefixes:
        raise InputError(f"engine.policy: {engine.policy} orders by cached prefixes; set enable_prefix_caching: true")


def _longest_request(engine: EngineOptions, scheduler: type[Scheduler], limits: SchedulerLimits) -> int:
    """Return the longest request that the engine can surely serve on an empty replica, so that nothing ever stalls.

    Raises InputError if not even one sequence fits.
    """
    size, blocks, longest = limits.block_size, limits.kv_blocks, limits.max_model_len
    if scheduler.reserves_longest and longest // size > blocks:
        raise InputError(
            f"engine.max_model_len: {engine.kind} reserves {longest // size} blocks for every sequence "
            f"and the replica has {blocks}; lower max_model_len to at most {blocks * size}"
        )
    groups = limits.kv_groups
    if groups is not None:
        # All tokens but the last are computed.
        longest = 1 + groups.longest(blocks, limits.max_num_batched_tokens, size, longest - 1)
    if scheduler.computes_whole_prompts:
        longest = min(longest, limits.max_num_batched_tokens)
    longest = min(longest, scheduler.longest_request(engine, limits))
    if longest < 2:
        raise InputError(
            f"engine.num_kv_blocks: {counted(blocks, 'block')} of {counted(size, 'token')} "
            f"{by_number(blocks, 'holds', 'hold')} no request of {engine.kind}"
        )
    return longest
