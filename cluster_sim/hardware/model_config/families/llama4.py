"""Llama 4: attention in chunks but for every fourth layer, experts in every layer or every second one."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import CHUNKED, FULL, Fields, decoder_fields
from cluster_sim.hardware.model_config.expert_keys import by_flag, experts
from cluster_sim.hardware.model_config.family import Family
from cluster_sim.hardware.model_config.module_names import USUAL_NAMES


def _more(config: ConfigFile, found: Fields) -> Fields:
    layers = found["num_hidden_layers"]
    step = config.integer("interleave_moe_layer_step", default=1, least=1)
    sparse = config.integers("moe_layers")
    flags = [layer in sparse if sparse is not None else (layer + 1) % step == 0 for layer in range(layers)]
    without_rope = config.integers("no_rope_layers")
    more = experts(config) | {
        "n_shared_experts": 1,
        "mlp_layer_types": by_flag(flags),
        "intermediate_size_mlp": config.integer("intermediate_size_mlp", least=1),
    }
    if without_rope and not config.has("layer_types") and len(without_rope) >= layers:
        more["layer_types"] = [CHUNKED if has_rope else FULL for has_rope in without_rope[:layers]]
    config.flag("use_qk_norm")  # A norm without weights.
    return more


FAMILY: Final = Family(
    lambda config: decoder_fields(config, _more),
    {
        "llama4": {
            "vocab_size": 202048,
            "max_position_embeddings": 131072,
            "num_attention_heads": 40,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
            "attention_chunk_size": 8192,
            "no_rope_layer_interval": 4,
        }
    },
    module_names={
        **USUAL_NAMES,
        "mlp": ("feed_forward",),
        "mlp.experts": ("feed_forward.experts",),
        "mlp.shared_experts": ("feed_forward.shared_expert",),
    },
)
