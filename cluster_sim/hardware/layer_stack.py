"""The layers of a model, built from the figures of its file."""

from typing import TYPE_CHECKING

from cluster_sim.hardware.layers.attention import GroupedAttention
from cluster_sim.hardware.layers.feed_forward import DenseNetwork, ExpertNetwork
from cluster_sim.hardware.layers.latent_attention import Indexer as IndexHeads
from cluster_sim.hardware.layers.latent_attention import LatentAttention
from cluster_sim.hardware.layers.layer import Layer
from cluster_sim.hardware.layers.mixer import Mixer
from cluster_sim.hardware.layers.state_space import GatedDeltaNet, Mamba2

if TYPE_CHECKING:
    from cluster_sim.hardware.model import Model


def build_layers(model: "Model") -> tuple[Layer, ...]:
    """Return every layer; layers that are alike share their parts."""
    mixers: dict[tuple[str, bool], Mixer | None] = {}
    networks: dict[tuple[str, int], DenseNetwork | ExpertNetwork | None] = {}
    layers = []
    for index in range(model.num_hidden_layers):
        kind = model.layer_types[index] if model.layer_types else ""
        has_index = model.indexer is not None and (not model.indexer.layers or index in model.indexer.layers)
        if (kind, has_index) not in mixers:
            mixers[kind, has_index] = _mixer(model, kind, has_index)
        network = model.network_type(index), model.dense_width(index)
        if network not in networks:
            networks[network] = _network(model, *network)
        layers.append(Layer(mixers[kind, has_index], networks[network]))
    return tuple(layers)


def _mixer(model: "Model", kind: str, has_index: bool) -> Mixer | None:
    if kind == "none":
        return None
    if kind == "linear_attention":
        delta = model.gated_delta_net
        assert delta is not None
        return GatedDeltaNet(
            model.hidden_size, delta.key_heads, delta.value_heads, delta.key_head_dim, delta.value_head_dim, delta.conv
        )
    if kind == "mamba":
        mamba = model.mamba
        assert mamba is not None
        return Mamba2(model.hidden_size, mamba.heads, mamba.head_dim, mamba.state_size, mamba.groups, mamba.conv)
    if model.kv_lora_rank is not None:
        indexer = model.indexer if has_index else None
        return LatentAttention(
            model.hidden_size,
            model.num_attention_heads,
            model.q_lora_rank or 0,
            model.kv_lora_rank,
            model.qk_nope_head_dim,
            model.qk_rope_head_dim,
            model.v_head_dim,
            IndexHeads(indexer.heads, indexer.head_dim, indexer.top_k) if indexer is not None else None,
        )
    own = model.sliding if kind == "sliding_attention" else None
    head_dim = own.head_dim if own is not None else model.head_dim
    return GroupedAttention(
        hidden=model.hidden_size,
        heads=own.num_attention_heads if own is not None else model.num_attention_heads,
        kv_heads=own.num_key_value_heads if own is not None else model.num_key_value_heads,
        key_width=head_dim,
        value_width=(own.v_head_dim if own is not None else model.v_head_dim) or head_dim,
        has_output_gate=model.has_output_gate,
        has_value_projection=not model.shares_key_and_value or kind == "sliding_attention",
        has_bias=model.attention_bias,
        has_output_bias=model.attention_output_bias,
        has_qk_norm=model.use_qk_norm,
    )


def _network(model: "Model", kind: str, width: int) -> DenseNetwork | ExpertNetwork | None:
    matrices = 3 if model.is_gated_mlp else 2
    if kind == "sparse":
        expert_width = model.moe_intermediate_size or model.intermediate_size
        return ExpertNetwork(
            hidden=model.hidden_size,
            experts=model.experts,
            experts_per_token=model.num_experts_per_tok,
            width=expert_width,
            matrices=matrices,
            shared_width=model.shared_expert_intermediate_size or model.n_shared_experts * expert_width,
            latent=model.moe_latent_size or 0,
            has_bias=model.expert_bias,
        )
    return DenseNetwork(model.hidden_size, width, matrices) if kind == "dense" and width else None
