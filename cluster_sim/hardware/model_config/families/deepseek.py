"""DeepSeek-V2 and -V3, Kimi K2, and with an indexer DeepSeek-V3.2 and GLM-5: latent attention and experts."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import Fields, dense_network, layer_types, sizes
from cluster_sim.hardware.model_config.expert_keys import experts, sparse_layers
from cluster_sim.hardware.model_config.family import Family

SPARSE: Final = frozenset({"deepseek_v32", "glm_moe_dsa"})


def read(config: ConfigFile) -> Fields:
    """Return the figures of one file."""
    found = sizes(config)
    layers = found["num_hidden_layers"]
    count = config.integer("num_attention_heads", least=1)
    nope, rope = config.integer("qk_nope_head_dim", least=1), config.integer("qk_rope_head_dim", least=1)
    config.use("num_key_value_heads", "head_dim")  # The file's head_dim is no size of a head here.
    layer_types(config, layers, ("deepseek_sparse_attention",))
    found |= dense_network(config) | experts(config) | sparse_layers(config, layers)
    found |= {
        "num_attention_heads": count,
        "num_key_value_heads": count,
        "head_dim": nope + rope,
        "kv_lora_rank": config.integer("kv_lora_rank", least=1),
        "q_lora_rank": config.integer("q_lora_rank", default=0) or None,
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": config.integer("v_head_dim", least=1),
    }
    if config.model_type in SPARSE:
        found["indexer"] = _indexer(config, layers)
    return found


def _indexer(config: ConfigFile, layers: int) -> Fields:
    """Return the indexer and the layers that have one of their own."""
    kinds = config.texts("indexer_types")
    config.use("index_topk_freq", "index_skip_topk_offset")  # What indexer_types spells out.
    if kinds is None and config.integer("index_topk_freq", default=1) > 1:
        raise config.fault("index_topk_freq", "layers that share an indexer need indexer_types, the type of each")
    own: list[int] = []
    if kinds is not None:
        if set(kinds) - {"full", "shared"} or len(kinds) < layers:
            raise config.fault("indexer_types", f"must be full or shared for each of {layers} layers")
        own = [layer for layer, kind in enumerate(kinds[:layers]) if kind == "full"]
    return {
        "heads": config.integer("index_n_heads", least=1),
        "head_dim": config.integer("index_head_dim", least=1),
        "top_k": config.integer("index_topk", least=1),
        "layers": own,
    }


_V3: Final = {
    "vocab_size": 129280,
    "max_position_embeddings": 4096,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}

FAMILY: Final = Family(
    read,
    {
        "deepseek_v2": {
            "vocab_size": 102400,
            "max_position_embeddings": 2048,
            "n_shared_experts": 2,
            "kv_lora_rank": 512,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
        },
        "deepseek_v3": _V3,
        "kimi_k2": _V3,
        "deepseek_v32": _V3 | {"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048},
        "glm_moe_dsa": {},
    },
    harmless=frozenset({"indexer_rope_interleave", "index_share_for_mtp_iteration", "index_topk_pattern"}),
)
