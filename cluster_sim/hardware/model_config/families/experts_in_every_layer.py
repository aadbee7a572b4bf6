"""Decoders with grouped-query attention and experts: Mixtral, Qwen's mixtures, MiniMax-M2, gpt-oss, GLM-4.5."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import FULL, SLIDING, Fields, decoder_fields
from cluster_sim.hardware.model_config.expert_keys import experts, sparse_layers
from cluster_sim.hardware.model_config.family import Family
from cluster_sim.hardware.model_config.module_names import USUAL_NAMES

WITH_QK_NORM: Final = frozenset({"qwen3_moe", "qwen3_vl_moe", "minimax_m2"})

SPARSE_MIXER_KERNELS: Final = 25
"""Tensor operations of ``sparsemixer`` and its caller (vllm/model_executor/models/phimoe.py)."""


def _more(config: ConfigFile, found: Fields) -> Fields:
    kind, layers = config.model_type, found["num_hidden_layers"]
    more = experts(config) | sparse_layers(config, layers)
    more["use_qk_norm"] = config.flag("use_qk_norm") or kind in WITH_QK_NORM
    if kind == "phimoe":
        more["router_kernels"] = SPARSE_MIXER_KERNELS
    if kind == "qwen2_moe":
        more |= {"attention_bias": True, "attention_output_bias": False}
    if kind == "glm4_moe":
        more["attention_output_bias"] = False
    if kind == "gpt_oss":
        more["expert_bias"] = True
        if "layer_types" not in found:
            more["layer_types"] = [FULL if layer % 2 else SLIDING for layer in range(layers)]
    return more


FAMILY: Final = Family(
    lambda config: decoder_fields(config, _more),
    {
        "mixtral": {
            "vocab_size": 32000,
            "max_position_embeddings": 131072,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
        "phimoe": {
            "vocab_size": 32064,
            "max_position_embeddings": 131072,
            "num_key_value_heads": 8,
            "num_local_experts": 16,
            "num_experts_per_tok": 2,
        },
        "qwen2_moe": {
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
        },
        "qwen3_moe": {
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
        },
        "qwen3_vl_moe": {
            "vocab_size": 151936,
            "max_position_embeddings": 128000,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
        },
        "minimax_m2": {
            "vocab_size": 200064,
            "max_position_embeddings": 196608,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_local_experts": 256,
            "num_experts_per_tok": 8,
        },
        "gpt_oss": {
            "vocab_size": 201088,
            "max_position_embeddings": 131072,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "sliding_window": 128,
            "attention_bias": True,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
        },
        "glm4_moe": {
            "vocab_size": 151552,
            "max_position_embeddings": 131072,
            "num_attention_heads": 96,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 10944,
            "n_routed_experts": 128,
            "num_experts_per_tok": 8,
            "n_shared_experts": 1,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
        },
        "olmoe": {
            "vocab_size": 50304,
            "max_position_embeddings": 4096,
            "num_experts": 64,
            "num_experts_per_tok": 8,
        },
        "granitemoe": {
            "vocab_size": 32000,
            "max_position_embeddings": 2048,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
    },
    harmless=frozenset({"initial_context_length", "experts_per_token", "qk_norm_type"}),
    module_names={**USUAL_NAMES, "mlp.experts": ("mlp.experts", "block_sparse_moe.experts")},
)
