"""Gemma: sliding layers between full ones, tied embeddings; Gemma 4 with heads of their own and experts beside MLPs."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import FULL, SLIDING, Fields, decoder_fields, periodic
from cluster_sim.hardware.model_config.expert_keys import experts
from cluster_sim.hardware.model_config.family import Family
from cluster_sim.hardware.model_config.module_names import USUAL_NAMES

PERIOD: Final = {"gemma2": 2, "gemma3": 6, "gemma4": 6}
"""Every so-many-th layer has full attention, unless the file says otherwise."""


def _more(config: ConfigFile, found: Fields) -> Fields:
    kind = config.model_type
    more: Fields = {"use_qk_norm": kind in {"gemma3", "gemma4"}}
    if kind != "gemma" and "layer_types" not in found:
        more["layer_types"] = periodic(found["num_hidden_layers"], PERIOD[kind], SLIDING)
    if kind == "gemma4":
        more |= _gemma4(config, found, [*(found.get("layer_types") or more["layer_types"])])
    return more


def _gemma4(config: ConfigFile, found: Fields, kinds: list[str]) -> Fields:
    """Return the heads of full layers, which have keys for values as well, and the experts beside the dense network."""
    if config.integer("num_kv_shared_layers", default=0):
        raise config.fault("num_kv_shared_layers", "layers that share the cache of others are not modelled")
    if config.integer("hidden_size_per_layer_input", default=0):
        raise config.fault("hidden_size_per_layer_input", "embeddings of every layer are not modelled")
    if config.flag("use_double_wide_mlp"):
        raise config.fault("use_double_wide_mlp", "layers of double width are not modelled")
    kinds[-1] = FULL
    has_shared_values = config.flag("attention_k_eq_v")
    kv_heads = config.integer("num_global_key_value_heads", default=0) if has_shared_values else 0
    more: Fields = {
        "layer_types": kinds,
        "shares_key_and_value": has_shared_values,
        "sliding": {key: found[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")},
        "head_dim": config.integer("global_head_dim", default=512, least=1),
        "num_key_value_heads": kv_heads or found["num_key_value_heads"],
    }
    if config.flag("enable_moe_block"):
        more |= experts(config) | {"shared_expert_intermediate_size": found["intermediate_size"]}
    else:
        config.use("num_experts", "top_k_experts", "moe_intermediate_size")
    return more


_GEMMA3: Final = {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
    "hidden_activation": "gelu_pytorch_tanh",
}

FAMILY: Final = Family(
    lambda config: decoder_fields(config, _more),
    {
        "gemma": {
            "vocab_size": 256000,
            "max_position_embeddings": 8192,
            "head_dim": 256,
            "tie_word_embeddings": True,
        },
        "gemma2": {
            "vocab_size": 256000,
            "max_position_embeddings": 8192,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
        },
        "gemma3": _GEMMA3,
        "gemma4": _GEMMA3
        | {
            "vocab_size": 262144,
            "sliding_window": 512,
            "hidden_size_per_layer_input": 256,
            "attention_k_eq_v": False,
        },
    },
    module_names={**USUAL_NAMES, "mlp.experts": ("experts", "moe.experts"), "mlp.shared_experts": ("mlp",)},
)
