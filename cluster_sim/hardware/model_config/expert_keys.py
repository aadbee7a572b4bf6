"""Keys of mixtures of experts, under all the names in use."""

from collections.abc import Sequence

from cluster_sim.hardware.model_config.config_file import ConfigFile, shown
from cluster_sim.hardware.model_config.decoder_keys import Fields


def experts(config: ConfigFile) -> Fields:
    """Return number and width of routed and shared experts; nothing for a model without."""
    count = config.integer(
        "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts", default=0
    )
    per_token_names = (
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "top_k_experts",
        "moe_topk",
        "moe_top_k",
        "moe_k",
        "num_selected_experts",
    )
    per_token = config.integer(*per_token_names, default=0)
    shared_count = config.integer(
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts", default=0
    )
    width = config.integer("moe_intermediate_size", "expert_ffn_hidden_size", "expert_dim", default=0)
    shared_width = config.integer(
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
        default=0,
    )
    if not count:
        return {}
    if not per_token:
        named = next((name for name in per_token_names if config.has(name)), "num_experts_per_tok")
        raise config.fault(named, f"{count} experts and none for a token; known names: {', '.join(per_token_names)}")
    found: Fields = {"num_experts": count, "num_experts_per_tok": per_token, "n_shared_experts": shared_count}
    if width:
        found["moe_intermediate_size"] = width
    if shared_width:
        found["shared_expert_intermediate_size"] = shared_width
    return found


def sparse_layers(config: ConfigFile, layers: int) -> Fields:
    """Return the layers that have experts, by any of the usual rules."""
    kinds = config.texts("mlp_layer_types")
    frequency = config.value("moe_layer_freq")
    dense = config.integer("first_k_dense_replace", default=0)
    step = config.integer("decoder_sparse_step", default=1, least=1)
    only = config.integers("mlp_only_layers") or []
    if kinds is not None:
        if set(kinds) - {"dense", "sparse"} or len(kinds) < layers:
            raise config.fault("mlp_layer_types", f"must be dense or sparse for each of {layers} layers")
        return {"mlp_layer_types": kinds[:layers]}
    if isinstance(frequency, list):
        if len(frequency) < layers or set(frequency) - {0, 1}:
            raise config.fault("moe_layer_freq", f"must be 0 or 1 for each of {layers} layers, not {shown(frequency)}")
        return {"mlp_layer_types": by_flag([bool(flag) for flag in frequency[:layers]])}
    if frequency is None:
        frequency = 1
    if isinstance(frequency, bool) or not isinstance(frequency, int) or frequency < 1:
        raise config.fault("moe_layer_freq", f"must be a period or a list, not {shown(frequency)}")
    if frequency == 1 and step == 1 and not only:
        return {"first_k_dense_replace": dense}
    return {
        "mlp_layer_types": by_flag(
            [
                layer >= dense and layer % frequency == 0 and (layer + 1) % step == 0 and layer not in only
                for layer in range(layers)
            ]
        )
    }


def by_flag(flags: Sequence[bool]) -> list[str]:
    """Return the type of every layer's network by whether it has experts."""
    return ["sparse" if is_sparse else "dense" for is_sparse in flags]
