"""Options of vLLM v1, and what its versions pin."""

from dataclasses import replace
from typing import ClassVar, Final, Literal, Self

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings
from cluster_sim.hardware.kv_groups import KvGroups, kv_groups
from cluster_sim.hardware.model import Model
from cluster_sim.options import MOST_ITEMS, ConfigModel
from cluster_sim.serving.lora import Lora
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.schedulers.engine_options import (
    ChunkedPrefill,
    HostLoadTime,
    WatermarkRatio,
)
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.serving.speculation import Speculative
from cluster_sim.units import GIB, NS_PER_MS

ASYNC_SINCE: Final = (0, 14)
"""vLLM plans the next step while one runs, by default, from this version on."""
RESERVE_SINCE: Final = (0, 20)
"""vLLM's ``scheduler_reserve_full_isl`` is on by default from this version on."""
HYBRID_SINCE: Final = (0, 10)
"""vLLM has KV cache groups, so that layers with an attention window keep the window only, from this version on."""

MORE_MEMORY_SINCE: Final = (0, 21)
"""vLLM takes 0.92 of a GPU's memory by default from this version on, which then counts its CUDA graphs in."""


PINNED_BEFORE: Final = (0, 21)
"""Before this version what the offloading connector stores stays pinned until its request ends."""


POSTS_IN_STEP_BEFORE: Final = (0, 14)
"""Before this version, in which scheduling became asynchronous, the posting of a remote prompt's reads holds up a step;
later versions were not measured."""
POST_MS: Final = 15.0
"""Time that this takes for one prompt, nearly whatever its length: 15 ms a request and 6 us a token, by the tokens per
second of a decode instance of vLLM 0.13 (Llama-3.1-70B on 4 H100, NIXL; LLMServingSim's ISPASS artifact, figure 5),
whose steps take as long as without hand-over as soon as no more prompts arrive."""


class KvOffload(ConfigModel):
    """vLLM's offloading connector: full blocks are stored in host memory while their request runs.

    Its version decides what that costs: before 0.21 stored blocks stay pinned until their request ends, and requests
    that find no room try again in every step.
    """

    cpu_gib: float = Field(gt=0, le=65_536, description="Host memory for KV blocks, over all GPUs of a replica.")

    def host_blocks(self, block_bytes: int) -> int:
        """Return how many blocks of ``block_bytes`` over all GPUs fit."""
        return int(self.cpu_gib * GIB) // block_bytes


class VllmV1Options(TokenBudgetOptions):
    """Running sequences in admission order, then new ones; chunked prompts and decodes together."""

    versions: ClassVar = ("0.6", "1.99")
    block_sizes: ClassVar = frozenset({1, 8, 16, 32, 64, 128, 256})

    switches = frozenset(
        {
            "prefill_schedule_interval",
            "async_scheduling",
            "enable_prefix_caching",
            "host_blocks",
            "kv_offload",
            "enforce_eager",
            "speculative",
            "lora",
        }
    )
    keeps_windows = True
    keeps_states = True
    refuses_positions = True
    refuses_small_cache = True
    kernels = "vllm"

    kind: Literal["vllm_v1"] = "vllm_v1"
    enable_chunked_prefill: ChunkedPrefill = True
    long_prefill_token_threshold: int = Field(
        0, ge=0, le=MOST_ITEMS, description="Most tokens of one prompt in one step; 0 leaves it to the budget."
    )
    prefill_schedule_interval: int = Field(
        1,
        ge=1,
        le=1_000_000,
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
    watermark_ratio: WatermarkRatio = 0.0
    enable_prefix_caching: bool | None = Field(
        None,
        description="Whether what is computed is reused by equal prefixes; null: yes, but for models with layers that "
        "keep a state, or whose layers have blocks of different numbers of tokens.",
    )
    host_blocks: int = Field(
        0,
        ge=0,
        le=MOST_ITEMS,
        description="KV blocks that host memory keeps of computed prefixes, for each rank; 0 is none.",
    )
    host_load_block_us: HostLoadTime = None
    enforce_eager: bool = Field(
        False,
        description="Whether the CPU launches every kernel, without CUDA graphs; it may then set the pace.",
    )
    kv_offload: KvOffload | None = Field(
        None, description="vLLM's offloading connector, as its version has it; null is none."
    )
    disable_hybrid_kv_cache_manager: bool | None = Field(
        None,
        description="Whether a model that mixes layers with and without an attention window keeps the whole context in "
        "all of them; null: where windows are chunks (Llama 4), with host_blocks, and before version 0.10.",
    )
    speculative: Speculative | None = Field(None, description="Speculative decoding; null decodes one token a step.")
    lora: Lora | None = Field(
        None, description="LoRA adapters; null has no slots: the base model serves requests of traces that name one."
    )

    @property
    def pinned_memory_utilization(self) -> float:
        """Share of device memory that this version takes unless it is told another."""
        return 0.92 if self._release >= MORE_MEMORY_SINCE else 0.9

    @property
    def _release(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))

    @property
    def pins_stores(self) -> bool:
        """Whether what is stored in host memory stays pinned until its request ends."""
        return self.kv_offload is not None and self._release < PINNED_BEFORE

    @property
    def post_ns(self) -> int:
        """Time for which a step waits while the reads of a prompt that was computed elsewhere are posted, ns."""
        return round(POST_MS * NS_PER_MS) if self._release < POSTS_IN_STEP_BEFORE else 0

    @property
    def caches_prefixes(self) -> bool:
        """Whether computed blocks are reused."""
        return bool(self.enable_prefix_caching)

    @property
    def chunks_prompts(self) -> bool:
        """Whether prompts are chunked."""
        return self.enable_chunked_prefill

    @property
    def plans_ahead(self) -> bool:
        """Whether scheduling is asynchronous."""
        return bool(self.async_scheduling)

    @property
    def draft_tokens(self) -> int:
        """Drafts that a decode verifies beside its own token."""
        return self.speculative.num_speculative_tokens if self.speculative else 0

    @property
    def prefill_interval(self) -> int:
        """Joint steps of data-parallel ranks from one that computes prompts to the next."""
        return self.prefill_schedule_interval

    @property
    def needs_host_load_time(self) -> bool:
        """Whether the time to load a block is left to the device."""
        return self.host_load_block_us is None

    def resolved(self, device: Device, model: Model) -> Self:
        """Return the options with every null replaced by what this version of vLLM would choose on ``device``."""
        version = self._release
        chosen: dict[str, bool | int] = self._batch_limits(device, model)
        if self.async_scheduling is None:
            chosen["async_scheduling"] = version >= ASYNC_SINCE
        if self.reserve_full_sequence is None:
            chosen["reserve_full_sequence"] = version >= RESERVE_SINCE
        if self.disable_hybrid_kv_cache_manager is None and (
            self.host_blocks or self.kv_offload is not None or version < HYBRID_SINCE
        ):
            chosen["disable_hybrid_kv_cache_manager"] = True
        options = super().resolved(device, model).model_copy(update=chosen)
        if options.enable_prefix_caching is not None:
            return options
        groups = kv_groups(model, options, options.block_size)
        can_cache = not model.state_layers and (groups is None or groups.full_ratio == 1)
        return options.model_copy(update={"enable_prefix_caching": can_cache})

    def _batch_limits(self, device: Device, model: Model) -> dict[str, bool | int]:
        """Return the slots and the token budget (``_set_default_max_num_seqs_and_batched_tokens_args``).

        A budget that is not set holds the longest prompt if prompts are not chunked, and never more than the slots can
        use; slots that are not set are at most as many as the budget has tokens.
        """
        pinned, length = self.pinned_settings(device), self.context_tokens(model)
        seqs, tokens = self.max_num_seqs or pinned.max_num_seqs, self.max_num_batched_tokens
        if tokens is None:
            tokens = pinned.max_num_batched_tokens
            if not self.enable_chunked_prefill:
                tokens = max(tokens, length)
            tokens = min(tokens, seqs * length)
        return {"max_num_seqs": self.max_num_seqs or min(seqs, tokens), "max_num_batched_tokens": tokens}

    def hardware_settings(self, device: Device) -> EngineSettings:
        """Return what memory and step times depend on."""
        settings = super().hardware_settings(device)
        return replace(
            settings,
            enforce_eager=self.enforce_eager,
            disable_hybrid_kv_cache_manager=self.disable_hybrid_kv_cache_manager,
        )

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        if self.kv_offload is not None and not self.enable_prefix_caching:
            raise InputError(
                "engine.kv_offload: host memory keeps prefixes, so it needs enable_prefix_caching: true; leave it out"
            )
        if self.host_blocks and not self.enable_prefix_caching:
            raise InputError(
                "engine.host_blocks: host memory keeps prefixes, so it needs enable_prefix_caching: true; set 0"
            )
        if self.disable_hybrid_kv_cache_manager is False and self.host_blocks:
            raise InputError(
                "engine.disable_hybrid_kv_cache_manager: with host_blocks vLLM keeps whole contexts; leave it out"
            )
        if self.speculative is not None and QUEUE_ORDERS.get(self.policy).part.chooses_victims:
            raise InputError(f"engine.speculative: cannot be combined with policy: {self.policy}; use fcfs")

    def kv_groups(self, model: Model, tensor_parallel: int = 1) -> KvGroups | None:
        """Return the groups of a model with windows or states; InputError if they cannot be had."""
        groups = kv_groups(model, self, self.block_size, tensor_parallel, 1 + self.draft_tokens)
        if groups is None:
            return None
        if groups.sequence_blocks:
            self._check_states(model)
        elif self.host_blocks:
            raise InputError(
                f"engine.host_blocks: every layer of {model.name} has a window of {groups.window_tokens} tokens, and "
                "host memory keeps whole prefixes; set 0"
            )
        if groups.full_ratio > 1 and self.enable_prefix_caching:
            raise InputError(
                f"engine.enable_prefix_caching: sliding and full layers of {model.name} have blocks of different "
                "numbers of tokens, whose prefixes are not modelled; leave it off"
            )
        return groups

    def _check_states(self, model: Model) -> None:
        """Raise InputError for what cannot be had with layers that keep a state."""
        if self.enable_prefix_caching:
            raise InputError(
                f"engine.enable_prefix_caching: {model.name} has layers with a state; vLLM leaves prefix caching off "
                "for such models unless its experimental mode is asked for, which is not modelled; leave it off"
            )
        if self.disable_hybrid_kv_cache_manager:
            raise InputError(
                f"engine.disable_hybrid_kv_cache_manager: {model.name} has layers with a state, which needs groups of "
                "the KV cache; leave it out, with a version of at least 0.10"
            )
