"""Engine settings that the hardware layer gets from a study's engine block."""

from cluster_sim.hardware.device import load_device
from cluster_sim.serving.schedulers.engine_options import engine_options


def test_settings_override_defaults() -> None:
    """A null of the engine block is the device's default, "auto" the model's own; what is set holds."""
    engine = engine_options(max_num_seqs=7, quantization="fp8", version="0.11", block_size=32)
    settings = engine.hardware_settings(load_device("h100-sxm"))
    assert (settings.max_num_seqs, settings.max_num_batched_tokens) == (7, 8192)
    assert (settings.kv_cache_dtype, settings.weight_dtype) == (None, "fp8")
    assert (settings.version, settings.block_size, settings.keeps_windows) == ("0.11", 32, True)
    assert engine_options(kv_cache_dtype="fp8").hardware_settings(load_device("l40s")).kv_cache_dtype == "fp8"
