"""Qwen3-Next and Qwen3.5: a gated delta net in most layers, gated full attention in every fourth."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import (
    FULL,
    LINEAR,
    Fields,
    attention_biases,
    dense_network,
    heads,
    layer_types,
    periodic,
    sizes,
)
from cluster_sim.hardware.model_config.expert_keys import experts, sparse_layers
from cluster_sim.hardware.model_config.family import Family


def read(config: ConfigFile) -> Fields:
    """Return the figures of one file."""
    found = sizes(config)
    layers = found["num_hidden_layers"]
    found |= heads(config, found) | attention_biases(config) | dense_network(config)
    interval = config.integer("full_attention_interval", default=4, least=1)
    found |= experts(config) | sparse_layers(config, layers)
    return found | {
        "layer_types": layer_types(config, layers, (FULL, LINEAR)) or periodic(layers, interval, LINEAR),
        "use_qk_norm": True,
        "has_output_gate": config.flag("attn_output_gate", default=True),
        "state_dtype": config.text("mamba_ssm_dtype", default="float32"),
        "gated_delta_net": {
            "key_heads": config.integer("linear_num_key_heads", least=1),
            "value_heads": config.integer("linear_num_value_heads", least=1),
            "key_head_dim": config.integer("linear_key_head_dim", least=1),
            "value_head_dim": config.integer("linear_value_head_dim", least=1),
            "conv": config.integer("linear_conv_kernel_dim", least=1),
        },
    }


_SHARED: Final = {
    "max_position_embeddings": 32768,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
_EXPERTS: Final = {"moe_intermediate_size": 512, "shared_expert_intermediate_size": 512}

FAMILY: Final = Family(
    read,
    {
        "qwen3_next": _SHARED
        | _EXPERTS
        | {"vocab_size": 151936, "num_experts": 512, "num_experts_per_tok": 10, "intermediate_size": 5632},
        "qwen3_5": _SHARED | {"vocab_size": 248320},
        "qwen3_5_moe": _SHARED | _EXPERTS | {"vocab_size": 248320, "num_experts": 256, "num_experts_per_tok": 8},
    },
    harmless=frozenset({"output_gate_type"}),
)
