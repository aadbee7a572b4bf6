"""Raw configurations: figures by hand, defaults of the library, and refusals with file, line and key."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.hardware.model_config.family import FamilyCatalogue

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}
MIXTURE = LLAMA | {"model_type": "qwen3_moe", "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 2}
LATENT = {key: value for key, value in LLAMA.items() if key != "head_dim"} | {
    "model_type": "deepseek_v3",
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
HYBRID = LLAMA | {
    "model_type": "qwen3_next",
    "num_key_value_heads": 2,
    "head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
}


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Write a configuration, one key a line."""
    path = folder / "mine" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config, indent=1))
    return path


def loaded(folder: Path, config: dict[str, Any], *, allow_unknown: bool = False) -> Model:
    return load_model(str(written(folder, config)), allow_unknown=allow_unknown)


def kv_elements(model: Model) -> int:
    return sum(layer.mixer.kv_elements(1) for layer in model.layers if layer.mixer is not None)


@pytest.mark.parametrize(
    ("name", "parameters", "active", "kv_bytes"),
    [
        ("w4a16-compressed-tensors", 8.19e9, 8.19e9, 147_456),
        ("moe-top-k-experts", 25.2e9, 3.8e9, 225_280),
        ("hybrid-pattern", 31.6e9, 3.58e9, 6_144),
        ("string-window-pattern", 32.0e9, 32.0e9, 262_144),
        ("moe-without-dense-width", 15.58e9, 1.99e9, 49_152),
        ("shared-expert-width", 57.4e9, 14.2e9, 57_344),
    ],
)
def test_configurations_that_users_have(
    shared: Path, name: str, parameters: float, active: float, kv_bytes: int
) -> None:
    """Parameters, active ones and cache are those of the published models, or worked out in the cases' table."""
    model = load_model(str(shared / "cases/files/models" / name / "config.json"))
    assert model.name == name
    assert model.total_parameters == pytest.approx(parameters, rel=0.005)
    assert model.active_parameters == pytest.approx(active, rel=0.01)
    assert 2 * kv_elements(model) == kv_bytes


def test_letters_of_windows(shared: Path) -> None:
    """LLLG over 64 layers: 48 slide."""
    model = load_model(str(shared / "cases/files/models/string-window-pattern/config.json"))
    assert (model.windowed_layers, model.window_tokens) == (48, 4096)
    assert [model.is_windowed(layer) for layer in range(4)] == [True, True, True, False]


def test_parameters_of_a_hybrid_by_hand(tmp_path: Path) -> None:
    """Qwen3-Next in small: one attention layer in four, with an output gate; gated delta nets; a shared expert."""
    model = loaded(tmp_path, HYBRID)
    assert [layer for layer in range(6) if not model.has_state(layer)] == [3]
    attention = 64 * (2 * 4 * 16 + 2 * 2 * 16) + 4 * 16 * 64 + 2 * 16
    keys, values = 2 * 8, 4 * 8
    delta = 64 * (2 * keys + 2 * values + 2 * 4) + values * 64 + 4 * (2 * keys + values) + 2 * 4 + 8
    network = 3 * 64 * (8 * 32 + 48) + 64 * 8
    total = attention + 5 * delta + 6 * (network + 2 * 64) + 2 * 1000 * 64 + 64
    assert model.total_parameters == total
    assert model.active_parameters == total - 6 * 6 * 3 * 64 * 32
    assert kv_elements(model) == 2 * 2 * 16
    mixer = model.layers[0].mixer
    assert mixer is not None
    assert (mixer.state(1).convolution, mixer.state(1).recurrent) == (3 * (2 * keys + values), 4 * 8 * 8)
    assert model.state_element_bytes == 4


def test_latent_attention_with_an_indexer_by_hand(tmp_path: Path) -> None:
    """DeepSeek-V3.2 in small: the indexer adds weights, and a byte a number with four of scale to the cache."""
    plain = loaded(tmp_path, LATENT)
    config = LATENT | {"model_type": "deepseek_v32", "index_n_heads": 2, "index_head_dim": 8, "index_topk": 16}
    sparse = loaded(tmp_path, config)
    assert sparse.total_parameters - plain.total_parameters == 6 * (24 * 2 * 8 + 64 * 8 + 64 * 2 + 2 * 8)
    assert kv_elements(sparse) == 6 * (32 + 8)
    assert [layer.mixer.index_key_bytes for layer in sparse.layers if layer.mixer] == [12] * 6
    kinds = ["full", "full", "full", "shared", "shared", "shared"]
    fewer = loaded(tmp_path, config | {"indexer_types": kinds, "index_topk_freq": 4})
    assert [layer.mixer.index_key_bytes for layer in fewer.layers if layer.mixer] == [12, 12, 12, 0, 0, 0]
    with pytest.raises(InputError, match=r"index_topk_freq: layers that share an indexer need indexer_types"):
        loaded(tmp_path, config | {"index_topk_freq": 4})


def test_null_is_no_default(tmp_path: Path) -> None:
    """A file that says null means none, also where the library would fill something in: queries of one step."""
    model = loaded(tmp_path, LATENT | {"q_lora_rank": None})
    assert model.q_lora_rank is None
    filled = loaded(tmp_path, {key: value for key, value in LATENT.items() if key != "q_lora_rank"})
    assert filled.q_lora_rank == 1536
    assert loaded(tmp_path, LLAMA | {"model_type": "mistral", "num_key_value_heads": None}).num_key_value_heads == 4


def test_pattern_of_nemotron(tmp_path: Path) -> None:
    """M, E, * and - are one kind each, not all in every layer; experts have two matrices."""
    config = {
        **{key: value for key, value in LLAMA.items() if key != "num_hidden_layers"},
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "ME*-",
        "num_key_value_heads": 2,
        "head_dim": 16,
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 16,
        "n_groups": 2,
        "conv_kernel": 4,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "moe_shared_expert_intermediate_size": 48,
    }
    model = loaded(tmp_path, config)
    inner, convolved = 4 * 8, 4 * 8 + 2 * 2 * 16
    mamba = 64 * (inner + convolved + 4) + inner * 64 + 5 * convolved + 3 * 4 + inner
    experts = 2 * 64 * (8 * 32 + 48) + 64 * 8
    attention = 64 * 16 * (2 * 4 + 2 * 2)
    total = mamba + experts + attention + 2 * 64 * 128 + 4 * 64 + 2 * 1000 * 64 + 64
    assert model.total_parameters == total
    assert kv_elements(model) == 2 * 2 * 16
    with pytest.raises(InputError, match=r"config.json:\d+: hybrid_override_pattern: .*not \['X'\]"):
        loaded(tmp_path, config | {"hybrid_override_pattern": "MX"})


@pytest.mark.parametrize(
    ("fields", "windowed"),
    [
        ({"model_type": "gemma2"}, [0, 2, 4]),
        ({"model_type": "gemma3"}, [0, 1, 2, 3, 4]),
        ({"model_type": "gemma3", "sliding_window_pattern": 3}, [0, 1, 3, 4]),
        (
            {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2},
            [0, 2, 4],
        ),
        ({"model_type": "qwen2", "sliding_window": 64}, []),
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 4}, [4, 5]),
        ({"model_type": "exaone4"}, [0, 1, 2, 4, 5]),
    ],
)
def test_windows_that_the_library_fills_in(tmp_path: Path, fields: dict[str, Any], windowed: list[int]) -> None:
    """Layers slide as the transformers library says where the file does not."""
    model = loaded(tmp_path, LLAMA | fields)
    assert [layer for layer in range(6) if model.is_windowed(layer)] == windowed


def test_experts_that_are_chosen_in_many_kernels(tmp_path: Path) -> None:
    """Phi-MoE's experts are chosen in 25 tensor operations by vLLM, Mixtral's in one kernel."""
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2}
    for kind, kernels in (("phimoe", 25), ("mixtral", 0)):
        assert loaded(tmp_path, LLAMA | experts | {"model_type": kind}).router_kernels == kernels


def test_language_model_of_several_modalities(tmp_path: Path) -> None:
    """The text model is read, with the library's defaults; towers and further-token layers are named as left out."""
    text = {"model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 6, "intermediate_size": 128}
    model = loaded(
        tmp_path,
        {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 8}, "dtype": "bfloat16"},
    )
    assert (model.num_attention_heads, model.num_key_value_heads, model.head_dim) == (8, 4, 256)
    assert (model.vocab_size, model.sliding_window, model.tie_word_embeddings) == (262208, 4096, True)
    assert model.left_out == ("vision tower (vision_config)",)
    mtp = loaded(tmp_path, LATENT | {"num_nextn_predict_layers": 1})
    assert mtp.left_out == ("layers that predict further tokens (num_nextn_predict_layers: 1)",)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (
            LLAMA | {"model_type": "llama9"},
            r"config\.json:2: model_type: 'llama9' .*did you mean 'llama",
        ),
        (LLAMA | {"moe_latent_size": 7}, r"config\.json:\d+: moe_latent_size: not understood for model_type llama"),
        (LLAMA | {"num_experts": 8}, r"num_experts: not understood for model_type llama"),
        (LLAMA | {"num_memory_layers": 4}, "num_memory_layers: not understood for model_type llama"),
        (LLAMA | {"linear_num_key_heads": 8}, "linear_num_key_heads: not understood"),
        (LLAMA | {"hybrid_layer_pattern": [1, 0]}, "hybrid_layer_pattern: not understood"),
        (LLAMA | {"layer_types": ["linear_attention"] * 6}, "layer_types: 'linear_attention' is not understood here"),
        (LLAMA | {"is_encoder_decoder": True}, "is_encoder_decoder: models with an encoder"),
        (LLAMA | {"hidden_size": "64"}, r"config\.json:3: hidden_size: must be a whole number of at least 1, not '64'"),
        (LLAMA | {"hidden_size": [64]}, r"hidden_size: must be a whole number of at least 1, not \[64\]"),
        (LLAMA | {"tie_word_embeddings": "no"}, "tie_word_embeddings: must be true or false, not 'no'"),
        (LLAMA | {"sliding_window": 8, "sliding_window_pattern": "LX"}, "sliding_window_pattern: must be a period"),
        (LLAMA | {"layer_types": "full_attention"}, "layer_types: must be a list of texts, not 'full_attention'"),
        ({key: value for key, value in LLAMA.items() if key != "hidden_size"}, "hidden_size or n_embd.*missing"),
        (MIXTURE | {"num_experts_per_tok": 0}, r"num_experts_per_tok: 8 experts and none for a token"),
        (LATENT | {"moe_layer_freq": "all"}, "moe_layer_freq: must be a period or a list, not 'all'"),
        (LLAMA | {"quantization_config": {"quant_method": "quark"}}, "quant_method: 'quark' is not understood"),
        (LLAMA | {"quantization_config": [4]}, "must be a mapping"),
    ],
)
def test_refusals(tmp_path: Path, config: dict[str, Any], complaint: str) -> None:
    """What is not understood is refused by its key, never replaced by a default."""
    with pytest.raises(InputError, match=complaint):
        loaded(tmp_path, config)


def test_going_on_with_unknown_keys(tmp_path: Path) -> None:
    """At the user's request unknown keys are passed over, and named in the model."""
    config = LLAMA | {"model_type": "llama9", "index_topk": 5, "quantization_config": {"quant_method": "quark"}}
    model = loaded(tmp_path, config, allow_unknown=True)
    assert model.not_understood == ("model_type", "quantization_config", "index_topk")
    assert model.total_parameters == loaded(tmp_path, LLAMA).total_parameters


def test_keys_without_effect_are_no_offence(tmp_path: Path) -> None:
    """Keys that switch something off, and those of training or generation, do not count."""
    config = LLAMA | {"num_experts": None, "moe_latent_size": 0, "mamba_x": False, "rope_scaling": {"factor": 2}}
    assert loaded(tmp_path, config).not_understood == ()


def test_every_family_has_defaults_for_its_types() -> None:
    """The catalogue knows the types of today, each in one family."""
    known = FamilyCatalogue().model_types
    assert {"llama", "qwen3_next", "nemotron_h", "deepseek_v32", "gemma3", "glm4_moe", "kimi_k2"} <= set(known)
    assert len(known) == len(set(known))
