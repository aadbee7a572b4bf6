"""The ``engine`` block of a pool: the serving engine that is simulated."""

from typing import Literal

from pydantic import Field

from cluster_sim.options import ConfigModel, EngineKind
from cluster_sim.serving.ordering import Ordering, Policy
from cluster_sim.serving.speculation_options import Lora, Speculative


class Engine(ConfigModel):
    """The serving engine of every replica of a pool.  Null means: as the engine's version and the device pin it."""

    kind: EngineKind = Field(
        "vllm_v1",
        description="Scheduler that is simulated: vllm_v1, vllm_v0, sarathi, orca, faster_transformer, lightllm, "
        "sglang, tensorrt_llm or static_two_phase.",
    )
    version: str = Field(
        "0.15", pattern=r"^\d+(\.\d+)+$", description="Engine version; it pins the defaults that changed over time."
    )
    policy: Policy = "fcfs"
    ordering: Ordering = Field(Ordering(), description="Figures behind the policy.")
    max_num_seqs: int | None = Field(
        None, ge=1, description="Most requests that run at once; null is pinned by the device's memory."
    )
    max_num_batched_tokens: int | None = Field(
        None, ge=1, description="Token budget of one step; null is pinned by the device's memory."
    )
    max_model_len: int | None = Field(
        None, ge=1, description="Longest prompt plus output in tokens; null is the model's own context."
    )
    enable_chunked_prefill: bool = Field(True, description="Whether a prompt may be computed over several steps.")
    long_prefill_token_threshold: int = Field(
        0, ge=0, description="Most tokens of one prompt in one step; 0 leaves it to the budget."
    )
    prefill_schedule_interval: int = Field(
        1,
        ge=1,
        description="Data-parallel ranks that decode compute prompts in every so many-th step only, all in the same "
        "one, unless they fall behind.",
    )
    async_scheduling: bool | None = Field(
        None, description="Whether the next step is planned while one runs; null is pinned by the version."
    )
    reserve_full_sequence: bool | None = Field(
        None,
        description="Whether admission needs free blocks for the whole known sequence, not just its first chunk; "
        "null is pinned by the version.",
    )
    watermark_ratio: float = Field(
        0.0, ge=0, lt=1, description="Share of all blocks that admissions must leave free while something runs."
    )
    enable_prefix_caching: bool = Field(False, description="Whether computed blocks are reused by equal prefixes.")
    host_blocks: int = Field(
        0,
        ge=0,
        description="KV blocks that host memory keeps of computed prefixes, for each rank; 0 is none (vllm_v1).",
    )
    host_load_block_us: float | None = Field(
        None,
        ge=0,
        description="Time to load one block from host memory; null is what the device's link to the host takes "
        "(vllm_v1, sglang).",
    )
    hicache_ratio: float = Field(
        0.0,
        ge=0,
        description="Tokens that the radix cache keeps in host memory for each that the device's cache holds; 0 is "
        "none (sglang, whose own --hicache-ratio is 2).",
    )
    hicache_write_policy: Literal["write_through", "write_through_selective", "write_back"] = Field(
        "write_through",
        description="When tokens are copied to host memory: once computed, once found by a request, or once evicted "
        "from the device, which the step waits for (sglang).",
    )
    hicache_load_back_tokens: int = Field(
        10, ge=0, description="Fewest tokens for which host memory is read; fewer are computed again (sglang)."
    )
    block_size: int = Field(16, ge=1, description="Tokens in one KV block.")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of device memory that the engine takes.")
    num_kv_blocks: int | None = Field(
        None, ge=1, description="KV blocks of one replica; null computes them from the memory plan."
    )
    disable_hybrid_kv_cache_manager: bool | None = Field(
        None,
        description="Whether a model that mixes layers with and without an attention window keeps the whole context in "
        "all of them; null: where windows are chunks (Llama 4), with host_blocks, and before version 0.10 (vllm_v1).",
    )
    kv_cache_dtype: Literal["auto", "bf16", "fp8"] = Field(
        "auto", description="Type of the KV cache's entries; auto is the model's."
    )
    quantization: Literal["fp8", "int8", "int4", "fp4"] | None = Field(
        None, description="Type of the projections' weights; null is the model's own."
    )
    batch_timeout_s: float | None = Field(
        None,
        ge=0,
        description="Longest wait for a batch of max_num_seqs to fill up (static_two_phase); null: until it is full, "
        "or no more requests come in a run without end_s.",
    )
    adaptive_batch_size: bool = Field(
        False,
        description="Whether the size of a batch follows the load: from 1 on, after every batch half of the way to the "
        "number of requests that wait, up to max_num_seqs (static_two_phase).",
    )
    preemption_mode: Literal["recompute", "swap"] = Field(
        "recompute", description="Whether a preempted request is computed again or kept in host memory (vllm_v0)."
    )
    swap_blocks: int = Field(2048, ge=0, description="KV blocks that host memory holds for swapped requests (vllm_v0).")
    swap_block_us: float = Field(
        80.0,
        ge=0,
        description="Time to move one block between device and host memory; the step waits for it (vllm_v0).",
    )
    capacity_policy: Literal["guaranteed_no_evict", "max_utilization"] = Field(
        "guaranteed_no_evict",
        description="Which requests may start: those that everything started leaves room for at full length, or all "
        "that fit now, at the price of pauses (tensorrt_llm).",
    )
    enable_mixed_chunk: bool = Field(
        False, description="Whether a batch of prompts carries the running decodes too, within its budgets (sglang)."
    )
    max_prefill_tokens: int = Field(
        16384, ge=1, description="Prompt tokens that start together in one prefill batch (sglang)."
    )
    schedule_conservativeness: float = Field(
        1.0, gt=0, description="Factor on the share of future output that admission reserves (sglang)."
    )
    max_waiting_iters: int = Field(
        10, ge=0, description="Decode steps between two tries to start new prompts (lightllm)."
    )
    speculative: Speculative | None = Field(None, description="Speculative decoding; null decodes one token a step.")
    lora: Lora | None = Field(None, description="LoRA adapters; null serves the base model, whatever requests ask for.")
    vidur_compat: bool = Field(
        False,
        description="Whether Vidur's known faults are reproduced: a restart in the middle of a prompt, memory that "
        "faster_transformer never frees, a queue that stalls after an eviction. For comparisons with Vidur.",
    )
