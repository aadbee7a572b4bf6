"""The library: every file loads, parameter counts agree with the published ones, wrong files are refused."""

import json
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import device_names, load_device
from cluster_sim.hardware.model import load_model, model_names
from cluster_sim.hardware.sharding import kv_token_bytes
from cluster_sim.hardware.sharding import state_bytes as state_of


@pytest.mark.parametrize("name", model_names())
def test_parameters_agree_with_published(name: str) -> None:
    """Parameters derived from the shapes agree with the published count within 1 %."""
    model = load_model(name)
    assert model.name == name
    assert model.published_parameters > 0
    assert model.total_parameters == pytest.approx(model.published_parameters, rel=0.01)


COUNTS = {
    "kimi-k2": 1026.4,
    "kimi-k2.5": 1026.4,
    "glm-5": 743.9,
    "qwen3.5-397b-a17b": 396.3,
    "qwen3-next-80b-a3b": 79.7,
    "minimax-m2": 228.7,
    "minimax-m2.5": 228.7,
    "deepseek-v3.1": 671.0,
    "deepseek-v3.2": 671.0,
    "gemma-3-27b": 27.0,
    "gemma-3-12b": 11.8,
    "gemma-3-4b": 3.9,
    "glm-4.5": 352.8,
    "glm-4.5-air": 106.9,
    "nemotron-h-8b": 8.10,
    "nemotron-h-56b": 56.3,
    "qwen3-4b": 4.02,
    "llama-3.2-1b": 1.24,
    "llama-3.2-3b": 3.21,
    "mistral-small-3-24b": 23.6,
    "phi-4": 14.7,
}
"""Published parameters of the text models without layers that predict further tokens, 1e9."""


@pytest.mark.parametrize("name", COUNTS)
def test_models_of_today(name: str) -> None:
    """The library has the models of 2026 with their counts."""
    assert load_model(name).total_parameters == pytest.approx(1e9 * COUNTS[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "layers", "kv_bytes", "state_bytes"),
    [
        ("qwen3-next-80b-a3b", 12, 2 * 2 * 256 * 2, 3 * 8192 * 2 + 32 * 128 * 128 * 4),
        ("qwen3.5-397b-a17b", 15, 2 * 2 * 256 * 2, 3 * 12288 * 2 + 64 * 128 * 128 * 4),
        ("nemotron-h-8b", 4, 2 * 8 * 128 * 2, 3 * 10240 * 2 + 128 * 64 * 128 * 4),
        ("nemotron-h-56b", 10, 2 * 8 * 128 * 2, 3 * 20480 * 2 + 256 * 64 * 256 * 4),
        ("glm-5", 78, 576 * 2 + 132, 0),
        ("kimi-k2", 61, 576 * 2, 0),
        ("minimax-m2", 62, 2 * 8 * 128 * 2, 0),
        ("gemma-3-27b", 62, 2 * 16 * 128 * 2, 0),
    ],
)
def test_cache_and_states_of_models_of_today(name: str, layers: int, kv_bytes: int, state_bytes: int) -> None:
    """Keys and values of a token in the layers that have them, and the state of a sequence in each of the others."""
    model = load_model(name)
    mixers = [layer.mixer for layer in model.layers if layer.mixer is not None]
    tokens = [kv_token_bytes(mixer, "bf16", 1) for mixer in mixers if mixer.keeps_tokens]
    assert tokens == [kv_bytes] * layers
    assert {state_of(model, mixer, 1) for mixer in mixers if not mixer.keeps_tokens} <= {state_bytes}


@pytest.mark.parametrize("name", device_names())
def test_devices_load(name: str) -> None:
    """Every device file loads, is named like its file, and has a 16-bit rate, a price and its source."""
    device = load_device(name)
    assert device.name == name
    assert device.peak_flops("bf16") > 1e14
    assert device.price_usd_per_hour > 0
    assert device.price_source


def test_exact_counts() -> None:
    """Three counts known to the digit: Llama-2-7B, Mixtral-8x7B and DeepSeek-V3."""
    assert load_model("llama-2-7b").total_parameters == 6_738_415_616
    assert load_model("mixtral-8x7b").total_parameters == 46_702_792_704
    assert load_model("deepseek-v3").total_parameters == pytest.approx(671_026_419_200, rel=1e-4)
    assert load_model("mixtral-8x7b").active_parameters == pytest.approx(12.88e9, rel=0.01)


def test_raw_huggingface_config(tmp_path: Path) -> None:
    """A raw config.json is accepted: unknown keys aside, head_dim and kv heads derived."""
    path = tmp_path / "my-model" / "config.json"
    path.parent.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "rope_scaling": None,
        "dtype": "float16",
    }
    path.write_text(json.dumps(config))
    model = load_model(str(path))
    assert model.name == "my-model"
    assert (model.head_dim, model.num_key_value_heads, model.activation_dtype) == (128, 32, "fp16")
    assert model.total_parameters == 6_738_415_616


@pytest.mark.parametrize(
    ("fields", "windowed", "window"),
    [
        ({"sliding_window": 4096}, [0, 1, 2, 3, 4, 5], 4096),
        ({"sliding_window": 4096, "use_sliding_window": False}, [], 0),
        ({"sliding_window": 1024, "sliding_window_pattern": 3}, [0, 1, 3, 4], 1024),
        ({"attention_chunk_size": 8192, "no_rope_layer_interval": 2}, [0, 2, 4], 8192),
        ({"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 3}, [0, 2, 4], 128),
    ],
)
def test_windows_of_a_raw_huggingface_config(
    tmp_path: Path, fields: dict[str, object], windowed: list[int], window: int
) -> None:
    """Which layers have a window is read from their types, or from the period of the full ones."""
    config = {
        "hidden_size": 64,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | fields))
    model = load_model(str(path))
    assert [layer for layer in range(6) if model.is_windowed(layer)] == windowed
    assert (model.window_tokens, model.windowed_layers) == (window, len(windowed))


def test_unknown_name_lists_the_known(tmp_path: Path) -> None:
    """An unknown model or device names the known ones; a missing key names file and key."""
    with pytest.raises(InputError, match="llama-3-8b"):
        load_model("llama-9")
    with pytest.raises(InputError, match="h100-sxm"):
        load_device("h900")
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nhidden_size: 10\n")
    with pytest.raises(InputError, match=r"bad\.yaml: num_hidden_layers: is required"):
        load_model(str(path))
    path.write_text("name: [bad\n")
    with pytest.raises(InputError, match=r"bad\.yaml:\d+: not valid YAML"):
        load_model(str(path))


def test_wider_dtype_where_the_device_lacks_one() -> None:
    """fp8 weights on Ampere compute at the 16-bit rate."""
    device = load_device("a100-80gb")
    assert device.peak_flops("fp8") == device.peak_flops("fp16")
