"""Nemotron-H and Nemotron 3: each layer is one of Mamba-2, attention, a dense network or experts."""

from typing import Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import FULL, Fields, dense_network, heads, sizes
from cluster_sim.hardware.model_config.expert_keys import experts
from cluster_sim.hardware.model_config.family import Family
from cluster_sim.hardware.model_config.module_names import USUAL_NAMES

LETTERS: Final = {"M": "mamba", "-": "mlp", "*": "attention", "E": "moe"}
OTHER_NAMES: Final = {"linear_attention": "mamba", "mamba2": "mamba", "full_attention": "attention", "sparse": "moe"}


def read(config: ConfigFile) -> Fields:
    """Return the figures of one file."""
    kinds = _kinds(config)
    declared = config.integer("num_hidden_layers", default=len(kinds))
    if declared != len(kinds):
        raise config.fault("num_hidden_layers", f"{declared}, but the pattern has {len(kinds)} layers")
    config.set_layers(len(kinds))
    found = sizes(config)
    found |= heads(config, found) | dense_network(config)
    if "moe" in kinds:
        found |= experts(config)
        found["moe_latent_size"] = config.integer("moe_latent_size", default=0) or None
    else:
        config.use(*(key for key in config.keys if "expert" in key or key.startswith("moe_")))
    config.integer("sliding_window", default=0)
    config.integer("expand", default=2)
    mixers = {"mamba": "mamba", "attention": FULL}
    networks = {"mlp": "dense", "moe": "sparse"}
    return found | {
        "is_gated_mlp": False,
        "hidden_act": config.text("mlp_hidden_act", default="relu2"),
        "attention_bias": config.flag("attention_bias"),
        "layer_types": [mixers.get(kind, "none") for kind in kinds],
        "mlp_layer_types": [networks.get(kind, "none") for kind in kinds],
        "state_dtype": config.text("mamba_ssm_cache_dtype", default="float32"),
        "mamba": {
            "heads": config.integer("mamba_num_heads", least=1),
            "head_dim": config.integer("mamba_head_dim", least=1),
            "state_size": config.integer("ssm_state_size", "mamba_state_dim", least=1),
            "groups": config.integer("n_groups", "mamba_n_groups", least=1),
            "conv": config.integer("conv_kernel", "mamba_d_conv", least=1),
        },
    }


def _kinds(config: ConfigFile) -> list[str]:
    """Return the kind of every layer, by letters or by names."""
    key = next((key for key in ("layers_block_type", "layer_types") if config.has(key)), "hybrid_override_pattern")
    if key == "hybrid_override_pattern":
        pattern = config.text(key)
        wrong = sorted(set(pattern) - set(LETTERS))
        if not pattern or wrong:
            known = ", ".join(f"{letter} {kind}" for letter, kind in LETTERS.items())
            raise config.fault(key, f"must be letters of the layers ({known}){f', not {wrong}' if wrong else ''}")
        return [LETTERS[letter] for letter in pattern]
    kinds = [OTHER_NAMES.get(kind, kind) for kind in config.texts(key) or []]
    for kind in kinds:
        if kind not in LETTERS.values():
            raise config.fault(key, f"{kind!r} is not understood; known: {', '.join(LETTERS.values())}")
    return kinds


FAMILY: Final = Family(
    read,
    {
        "nemotron_h": {
            "vocab_size": 131072,
            "max_position_embeddings": 4096,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 21504,
            "ssm_state_size": 128,
            "mamba_num_heads": 128,
            "mamba_head_dim": 64,
            "n_groups": 8,
            "conv_kernel": 4,
        }
    },
    harmless=frozenset({"mamba_hidden_act", "chunk_size", "use_conv_bias", "time_step_rank"}),
    module_names={
        **USUAL_NAMES,
        "self_attn": ("mixer",),
        "mlp": ("mixer",),
        "mlp.experts": ("mixer.experts",),
        "mlp.shared_experts": ("mixer.shared_experts",),
        "mlp.fc1_latent": ("mixer.fc1_latent_proj",),
        "mlp.fc2_latent": ("mixer.fc2_latent_proj",),
    },
)
