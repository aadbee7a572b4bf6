"""Keys of a configuration that change cost: those that a family does not ask for are not understood."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

COST_PATTERNS: Final = (
    "*expert*",
    "moe_*",
    "*_moe_*",
    "mlp_only_layers",
    "mamba_*",
    "ssm_*",
    "*conv_*",
    "linear_*",
    "*layer_types",
    "*layers_block_type",
    "*layer_config*",
    "block_configs",
    "*pattern*",
    "*_freq*",
    "*_interval*",
    "index_*",
    "indexer_*",
    "*sparse_*",
    "*compress*",
    "*sliding*",
    "*window*",
    "swa_*",
    "*chunk_size*",
    "*_rank",
    "*latent*",
    "*head_dim*",
    "*_heads",
    "*_heads_*",
    "*intermediate*",
    "*kv_shared*",
    "*k_eq_v*",
    "*output_gate*",
    "*per_layer*",
    "hc_*",
    "*double_wide*",
    "*_no_op*",
    "quantization_config",
    "compression_config",
    "is_encoder_decoder",
    "num_*_layers",
    "encoder_layers",
)

HARMLESS: Final = frozenset(
    {
        "expert_capacity",
        "ep_size",
        "moe_router_dtype",
        "moe_router_activation_func",
        "moe_router_scaling_factor",
        "moe_renormalize",
        "moe_shared_expert_overlap",
        "num_expert_group",
        "use_moe_router_bias",
        "chunk_size_feed_forward",
        "mup_interval",
        "full_attn_head_dim",
        "qk_head_dim",
        "rotary_head_dim",
        "num_reward_heads",
        "pruned_heads",
        "encoder_no_repeat_ngram_size",
        "vocab_size_per_layer_input",
        "max_window_layers",
    }
)
"""Keys that look like cost and are none, in any family."""


def is_cost(key: str) -> bool:
    """Return whether a key changes weights, cache or operations by its name."""
    return key not in HARMLESS and any(fnmatchcase(key, pattern) for pattern in COST_PATTERNS)


def is_neutral(value: Any) -> bool:
    """Return whether a value switches off what its key stands for."""
    return value is None or value is False or value == 0 or value in ("", [], {})


def unknown_cost_keys(unused: Mapping[str, Any], harmless: frozenset[str]) -> list[str]:
    """Return the keys that change cost and that nothing has asked for, in the order of the file."""
    return [key for key, value in unused.items() if key not in harmless and is_cost(key) and not is_neutral(value)]
