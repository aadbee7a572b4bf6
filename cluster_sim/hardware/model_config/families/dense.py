"""Dense decoders in the layout of Llama: grouped-query attention and a gated network in every layer."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import Fields, decoder_fields
from cluster_sim.hardware.model_config.family import Family

BIASED: Final = frozenset({"qwen2", "qwen2_vl", "qwen2_5_vl", "mimo"})
"""Query, key and value projections have biases, whatever the file says; the output projection has none."""
WITH_QK_NORM: Final = frozenset({"qwen3", "qwen3_vl", "exaone4", "olmo2"})


def _more(config: ConfigFile, found: Fields) -> Fields:
    kind = config.model_type
    more: Fields = {"use_qk_norm": kind in WITH_QK_NORM or config.flag("use_qk_norm")}
    if kind in BIASED:
        more |= {"attention_bias": True, "attention_output_bias": False}
    if kind == "seed_oss":
        more["attention_output_bias"] = config.flag("attention_out_bias")
    if kind == "exaone4" and not found.get("sliding_window"):
        more["layer_types"] = []
    return more


FAMILY: Final = Family(
    lambda config: decoder_fields(config, _more),
    {
        "llama": {"vocab_size": 32000, "max_position_embeddings": 2048},
        "mistral": {"vocab_size": 32000, "max_position_embeddings": 131072, "num_key_value_heads": 8},
        "ministral": {"num_key_value_heads": 8},
        "qwen2": {"vocab_size": 151936, "max_position_embeddings": 32768, "use_sliding_window": False},
        "qwen2_vl": {"vocab_size": 152064, "max_position_embeddings": 32768, "use_sliding_window": False},
        "qwen2_5_vl": {"vocab_size": 152064, "max_position_embeddings": 32768, "use_sliding_window": False},
        "qwen3": {
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "head_dim": 128,
            "use_sliding_window": False,
        },
        "qwen3_vl": {"vocab_size": 151936, "max_position_embeddings": 128000, "head_dim": 128},
        "phi3": {"vocab_size": 32064, "max_position_embeddings": 4096},
        "granite": {"vocab_size": 32000, "max_position_embeddings": 2048},
        "olmo2": {"vocab_size": 50304, "max_position_embeddings": 2048},
        "smollm3": {
            "vocab_size": 128256,
            "max_position_embeddings": 32768,
            "num_key_value_heads": 4,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
        },
        "seed_oss": {"vocab_size": 155136, "max_position_embeddings": 524288, "head_dim": 128, "attention_bias": True},
        "exaone4": {
            "vocab_size": 102400,
            "max_position_embeddings": 2048,
            "sliding_window": 4096,
            "sliding_window_pattern": 4,
        },
        "glm4": {
            "vocab_size": 151552,
            "max_position_embeddings": 131072,
            "head_dim": 128,
            "num_key_value_heads": 2,
            "attention_bias": True,
        },
        "mimo": {"vocab_size": 151680, "max_position_embeddings": 32768, "use_sliding_window": False},
        "internlm3": {"max_position_embeddings": 32768},
        "yi": {},
    },
    harmless=frozenset({"no_rope_layer_interval", "original_max_position_embeddings"}),
)
