"""Engine settings for the hardware layer: those of a study's engine block that decide memory and step times."""

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.engine_options import Engine


def hardware_settings(engine: Engine, device: Device) -> EngineSettings:
    """Return the settings of an engine block; null takes what the engine itself chooses on ``device``."""
    default = default_settings(device)
    return EngineSettings(
        max_num_seqs=engine.max_num_seqs or default.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens or default.max_num_batched_tokens,
        block_size=engine.block_size,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        weight_dtype=engine.quantization,
        kv_cache_dtype=None if engine.kv_cache_dtype == "auto" else engine.kv_cache_dtype,
        version=engine.version,
        kind=engine.kind,
        disable_hybrid_kv_cache_manager=engine.disable_hybrid_kv_cache_manager,
    )
