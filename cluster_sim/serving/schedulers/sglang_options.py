"""Options of SGLang, under the names of its server (server_args.py)."""

from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.options import MOST_ITEMS
from cluster_sim.serving.schedulers.engine_options import (
    BlockSize,
    ChunkedPrefill,
    HostLoadTime,
    PrefixCaching,
)
from cluster_sim.serving.schedulers.token_budget import TokenBudgetOptions
from cluster_sim.units import GIB

CHUNK_BY_MEMORY: Final = ((35, 2048), (60, 4096), (160, 8192))
"""Token budgets of devices with less memory than so many GiB; 16,384 beyond."""


class SglangOptions(TokenBudgetOptions):
    """A prompt batch if one can be built, else all decodes; mixed chunks carry the decodes too."""

    versions: ClassVar = ("0.1", "1.99")
    block_sizes: ClassVar = frozenset({1, 16, 32, 64, 128, 256})

    switches = frozenset({"enable_prefix_caching", "enable_mixed_chunk", "hicache_ratio"})
    refuses_positions = True
    kernels = "sglang"

    kind: Literal["sglang"] = "sglang"
    block_size: BlockSize = 1
    enable_chunked_prefill: ChunkedPrefill = True
    enable_prefix_caching: PrefixCaching = True
    enable_mixed_chunk: bool = Field(
        False, description="Whether a batch of prompts carries the running decodes too, within its budgets."
    )
    max_prefill_tokens: int = Field(
        16384, ge=1, le=MOST_ITEMS, description="Prompt tokens that start together in one prefill batch."
    )
    schedule_conservativeness: float = Field(
        1.0, gt=0, le=1000, description="Factor on the share of future output that admission reserves."
    )
    hicache_ratio: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="Tokens that the radix cache keeps in host memory for each that the device's cache holds; 0 is "
        "none (SGLang's own --hicache-ratio is 2).",
    )
    hicache_write_policy: Literal["write_through", "write_through_selective", "write_back"] = Field(
        "write_through",
        description="When tokens are copied to host memory: once computed, once found by a request, or once evicted "
        "from the device, which the step waits for.",
    )
    hicache_load_back_tokens: int = Field(
        10, ge=0, le=MOST_ITEMS, description="Fewest tokens for which host memory is read; fewer are computed again."
    )
    host_load_block_us: HostLoadTime = None

    @property
    def caches_prefixes(self) -> bool:
        """Whether the radix cache keeps what requests leave behind."""
        return self.enable_prefix_caching

    @property
    def chunks_prompts(self) -> bool:
        """Whether prompts are chunked."""
        return self.enable_chunked_prefill

    @property
    def needs_host_load_time(self) -> bool:
        """Whether the time to load a block is left to the device."""
        return self.host_load_block_us is None

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return SGLang's ``chunked_prefill_size`` for a device (server_args.py) as the token budget."""
        tokens = next((tokens for gibibytes, tokens in CHUNK_BY_MEMORY if device.memory_bytes < gibibytes * GIB), 16384)
        return replace(default_settings(device), max_num_batched_tokens=tokens)

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        budget = self.max_num_batched_tokens or self.block_size
        if budget < self.block_size:
            raise InputError(
                f"engine.max_num_batched_tokens: sglang cuts chunks in whole pages, and {budget} tokens hold none of "
                f"{self.block_size} (block_size); raise the one or lower the other"
            )
        if self.enable_mixed_chunk and not self.enable_chunked_prefill:
            raise InputError("engine.enable_mixed_chunk: sglang mixes only with enable_chunked_prefill: true")
        if self.hicache_ratio and not self.enable_prefix_caching:
            raise InputError(
                "engine.hicache_ratio: it is a tier behind the radix cache, so it needs enable_prefix_caching: true; "
                "set 0"
            )
        if 0 < self.hicache_ratio <= 1:
            raise InputError(
                f"engine.hicache_ratio: sglang refuses {self.hicache_ratio:g}, as its host cache must be larger than "
                "the device's; set more than 1, or 0 for none"
            )
