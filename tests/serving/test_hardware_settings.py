"""Engine settings that the hardware layer gets from a study's engine block."""

from cluster_sim.hardware.device import load_device
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.hardware_settings import hardware_settings


def test_settings_override_defaults() -> None:
    """A null of the engine block is the device's default, "auto" the model's own; what is set holds."""
    engine = Engine(max_num_seqs=7, quantization="fp8", version="0.11", block_size=32)
    settings = hardware_settings(engine, load_device("h100-sxm"))
    assert (settings.max_num_seqs, settings.max_num_batched_tokens) == (7, 8192)
    assert (settings.kv_cache_dtype, settings.weight_dtype) == (None, "fp8")
    assert (settings.version, settings.block_size, settings.kind) == ("0.11", 32, "vllm_v1")
    assert hardware_settings(Engine(kv_cache_dtype="fp8"), load_device("l40s")).kv_cache_dtype == "fp8"
