"""Engine limits that the hardware layer needs, with the defaults of the real engine."""

from dataclasses import dataclass
from typing import Any, Final

from cluster_sim.hardware.device import Device

GIB: Final = 1 << 30
LARGEST_GRAPH: Final = 512
"""Most tokens of a captured CUDA graph."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The engine settings that decide memory and step time."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    max_model_len: int | None = None
    """Longest request in tokens; None: the model's own."""
    block_size: int = 16
    gpu_memory_utilization: float = 0.9
    weight_dtype: str | None = None
    """Quantisation of the projections; None: the model's own."""
    kv_cache_dtype: str | None = None
    """fp8 or None for the activation dtype."""
    version: str | None = None
    """Version of the engine, e.g. "0.15"."""
    kind: str = "vllm_v1"
    disable_hybrid_kv_cache_manager: bool | None = None
    """Whether a model of both kinds of layers gets one KV cache group; None leaves it to the model."""


def graph_tokens(tokens: int) -> int:
    """Return the tokens that a CUDA graph computes for ``tokens``: vLLM pads to the next captured size.

    Captured are 1, 2, 4, every 8 up to 256 and every 16 up to 512; larger batches run without padding.
    """
    if tokens > LARGEST_GRAPH or tokens <= 2:
        return tokens
    if tokens <= 4:
        return 4
    step = 8 if tokens <= LARGEST_GRAPH // 2 else 16
    return -(-tokens // step) * step


def default_limits(device: Device) -> EngineLimits:
    """Return vLLM's defaults for its server on ``device`` (``arg_utils.py``; August 2026).

    Below 70 GiB, and A100 always: 2,048 tokens and 256 sequences; up to 160 GiB: 8,192 and 1,024; above: 16,384 and
    1,024.
    """
    if device.memory_bytes < 70 * GIB or device.name.startswith("a100"):
        return EngineLimits(max_num_seqs=256, max_num_batched_tokens=2048)
    if device.memory_bytes < 160 * GIB:
        return EngineLimits(max_num_seqs=1024, max_num_batched_tokens=8192)
    return EngineLimits(max_num_seqs=1024, max_num_batched_tokens=16384)


def limits_of(engine: Any, device: Device) -> EngineLimits:
    """Read the limits from a pool's ``engine`` settings; what is None or absent there takes the engine's default.

    ``engine`` may be None, an EngineLimits (returned as it is), or any object with the attributes of a study's engine
    block: ``max_num_seqs``, ``max_num_batched_tokens``, ``max_model_len``, ``block_size``, ``gpu_memory_utilization``,
    ``quantization``, ``kv_cache_dtype``, ``version``, ``kind``, ``disable_hybrid_kv_cache_manager``.
    """
    if isinstance(engine, EngineLimits):
        return engine
    default = default_limits(device)

    def setting(name: str, fallback: Any) -> Any:
        value = getattr(engine, name, None)
        return fallback if value is None or value == "auto" else value

    version = setting("version", None)
    return EngineLimits(
        max_num_seqs=int(setting("max_num_seqs", default.max_num_seqs)),
        max_num_batched_tokens=int(setting("max_num_batched_tokens", default.max_num_batched_tokens)),
        max_model_len=setting("max_model_len", None),
        block_size=int(setting("block_size", default.block_size)),
        gpu_memory_utilization=float(setting("gpu_memory_utilization", default.gpu_memory_utilization)),
        weight_dtype=setting("quantization", None),
        kv_cache_dtype=setting("kv_cache_dtype", None),
        version=None if version is None else str(version),
        kind=setting("kind", default.kind),
        disable_hybrid_kv_cache_manager=setting("disable_hybrid_kv_cache_manager", None),
    )
