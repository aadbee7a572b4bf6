"""Engine settings that decide memory and step times, with the defaults of vLLM's server."""

from dataclasses import dataclass

from cluster_sim.hardware.device import Device
from cluster_sim.units import GIB


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of a serving engine that memory and step times depend on."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int = 16
    gpu_memory_utilization: float = 0.9
    weight_dtype: str | None = None
    """Quantisation of the projections; None: the model's own."""
    kv_cache_dtype: str | None = None
    """fp8, or None for the dtype of the activations."""
    version: str | None = None
    """Version of the engine, e.g. "0.15"."""
    kind: str = ""
    """Kind of the engine, as studies name it."""
    kernels: str = ""
    """Engine whose kernels it runs, as operator timings name it: vllm, sglang or trtllm; "" if that is not known."""
    keeps_windows: bool = True
    """Whether the engine gives back what lies outside an attention window; vLLM v1 does."""
    enforce_eager: bool = False
    """Whether kernels are launched one by one, without CUDA graphs."""
    disable_hybrid_kv_cache_manager: bool | None = None
    """Whether a model of both kinds of layers gets one KV cache group; None leaves it to the model."""


def default_settings(device: Device) -> EngineSettings:
    """Return vLLM's defaults for its server on ``device`` (``arg_utils.py``; August 2026).

    Below 70 GiB, and A100 always: 2,048 tokens and 256 sequences; up to 160 GiB: 8,192 and 1,024; above: 16,384 and
    1,024.
    """
    if device.memory_bytes < 70 * GIB or device.name.startswith("a100"):
        slots, tokens = 256, 2048
    elif device.memory_bytes < 160 * GIB:
        slots, tokens = 1024, 8192
    else:
        slots, tokens = 1024, 16384
    return EngineSettings(max_num_seqs=slots, max_num_batched_tokens=tokens, kind="vllm_v1", kernels="vllm")
