"""MiMo-V2: sliding layers with heads of their own between full ones; keys wider than values; experts."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import FULL, SLIDING, Fields, dense_network, heads, sizes
from cluster_sim.hardware.model_config.expert_keys import experts, sparse_layers
from cluster_sim.hardware.model_config.family import Family


def read(config: ConfigFile) -> Fields:
    """Return the figures of one file."""
    found = sizes(config)
    layers = found["num_hidden_layers"]
    found |= heads(config, found) | dense_network(config) | experts(config) | sparse_layers(config, layers)
    pattern = config.integers("hybrid_layer_pattern")
    if pattern is None or len(pattern) < layers or set(pattern) - {0, 1}:
        raise config.fault("hybrid_layer_pattern", f"must be 0 (full) or 1 (sliding) for each of {layers} layers")
    value_width = config.integer("v_head_dim", default=found["head_dim"], least=1)
    config.use("sliding_window_size", "attention_chunk_size", "add_swa_attention_sink_bias")
    return found | {
        "layer_types": [SLIDING if flag else FULL for flag in pattern[:layers]],
        "sliding_window": config.integer("sliding_window", least=1),
        "v_head_dim": value_width,
        "sliding": {
            "num_attention_heads": config.integer("swa_num_attention_heads", default=found["num_attention_heads"]),
            "num_key_value_heads": config.integer("swa_num_key_value_heads", default=found["num_key_value_heads"]),
            "head_dim": config.integer("swa_head_dim", default=found["head_dim"]),
            "v_head_dim": config.integer("swa_v_head_dim", default=value_width),
        },
    }


FAMILY: Final = Family(read, {"mimo_v2_flash": {}}, harmless=frozenset({"swa_rope_theta"}))
