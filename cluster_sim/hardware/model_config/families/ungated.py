"""Dense decoders whose feed-forward network has two matrices, not three."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import Fields, decoder_fields
from cluster_sim.hardware.model_config.family import Family


def _more(config: ConfigFile, found: Fields) -> Fields:
    more: Fields = {"is_gated_mlp": False, "use_qk_norm": config.flag("qk_layernorm")}
    if not found["intermediate_size"]:
        more["intermediate_size"] = 4 * found["hidden_size"]
    return more


FAMILY: Final = Family(
    lambda config: decoder_fields(config, _more),
    {
        "gpt2": {"vocab_size": 50257, "n_positions": 1024, "tie_word_embeddings": True, "attention_bias": True},
        "gpt_neox": {"vocab_size": 50432, "max_position_embeddings": 2048, "attention_bias": True},
        "opt": {"vocab_size": 50272, "max_position_embeddings": 2048, "tie_word_embeddings": True, "use_bias": True},
        "phi": {"vocab_size": 51200, "max_position_embeddings": 2048, "attention_bias": True},
        "nemotron": {"vocab_size": 256000, "max_position_embeddings": 4096},
        "starcoder2": {
            "vocab_size": 49152,
            "max_position_embeddings": 4096,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "use_bias": True,
        },
    },
)
