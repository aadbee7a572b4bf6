"""Models: architectures in the field names of a Hugging Face ``config.json``, and what follows from them.

Parameter counts follow from shapes: every projection, bias and norm is counted, so ``scripts/check_models.py`` can hold
the sums against the published ones.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from cluster_sim.conf_directory import library_file, library_names
from cluster_sim.hardware.layer_stack import build_layers
from cluster_sim.hardware.layers.layer import Layer
from cluster_sim.hardware.layers.mixer import Part
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.hardware.library_model import LibraryModel
from cluster_sim.hardware.model_config.read import quantization_file, read_config
from cluster_sim.hardware.model_parts import (
    DefaultSampling,
    GatedDeltaNetShape,
    IndexerShape,
    MambaShape,
    SlidingHeads,
)
from cluster_sim.hardware.precision import DTYPES, PartPrecision, Precision, weight_bytes
from cluster_sim.suggestion import suggestion

LayerType = Literal["full_attention", "sliding_attention", "chunked_attention", "linear_attention", "mamba", "none"]
"""Mixer of a layer: attention to everything, to a sliding window or inside chunks; gated delta net; Mamba-2; none."""

STATE_TYPES: frozenset[str] = frozenset({"linear_attention", "mamba"})
"""Mixers that keep a state of constant size for a sequence instead of keys and values of every token."""


PUBLISHED_TOLERANCE = 0.05
"""Published counts are rounded, and may leave out what else a checkpoint has."""


class Model(LibraryModel):
    """A decoder-only model: attention or states of constant size, dense networks or experts."""

    name: str = Field(description="Name used in studies, equal to the file's name")
    hf_id: str = Field(default="", description="Repository on Hugging Face whose config.json this is")
    source: str = Field(default="", description="Where the figures come from")
    published_parameters: float = Field(
        default=0.0, ge=0, le=1e15, description="Published total parameter count; 0: none"
    )
    model_type: str = Field(default="llama", description="Architecture family")
    hidden_size: int = Field(ge=1, le=1_000_000, description="Width of the residual stream")
    num_hidden_layers: int = Field(ge=1, le=10_000, description="Layers")
    num_attention_heads: int = Field(ge=1, le=100_000, description="Query heads")
    num_key_value_heads: int = Field(ge=1, le=100_000, description="Key and value heads")
    head_dim: int = Field(
        ge=1, le=100_000, description="Width of one head; hidden_size / num_attention_heads when left out"
    )
    intermediate_size: int = Field(
        default=0, ge=0, le=100_000_000, description="Width of the feed-forward network; 0: every layer has experts"
    )
    vocab_size: int = Field(ge=1, le=100_000_000, description="Vocabulary")
    max_position_embeddings: int = Field(ge=1, le=1_000_000_000, description="Longest context, tokens")
    torch_dtype: str = Field(default="bfloat16", description="Dtype of activations and, unless quantised, weights")
    weight_dtype: str | None = Field(default=None, description="Dtype of quantised projections; null: torch_dtype")
    expert_weight_dtype: str | None = Field(
        default=None, description="Dtype of the routed experts' weights where only they are quantised"
    )
    precision: Precision = Field(
        default_factory=dict, description="Precision of each part, where it differs from the two above"
    )
    kv_cache_dtype: str | None = Field(
        default=None, description="Dtype of the cache that the checkpoint has scales for; null: torch_dtype"
    )
    tie_word_embeddings: bool = Field(default=False, description="The head shares the embedding's weights")
    hidden_act: str = Field(default="silu", description="Activation function")
    is_gated_mlp: bool = Field(
        default=True, description="Gate, up and down projection (SwiGLU) rather than up and down"
    )
    attention_bias: bool = Field(default=False, description="Biases on the query, key and value projections")
    attention_output_bias: bool = Field(default=False, description="Bias on the output projection")
    use_qk_norm: bool = Field(default=False, description="Norm of each query and key head")
    has_output_gate: bool = Field(default=False, description="The query projection gives a gate of the output as well")
    shares_key_and_value: bool = Field(
        default=False, description="Layers with full attention have no value projection: the value is the key"
    )
    sliding_window: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Tokens that a sliding layer's token sees, itself included; null: all",
    )
    sliding: SlidingHeads | None = Field(default=None, description="Heads of sliding layers, where they differ")
    attention_chunk_size: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Chunked layers: tokens of a chunk, in which a token sees what precedes it",
    )
    layer_types: tuple[LayerType, ...] = Field(
        default=(), description="Mixer of every layer; none: all have the window, where one is set"
    )
    mlp_layer_types: tuple[Literal["dense", "sparse", "none"], ...] = Field(
        default=(), description="Feed-forward network of every layer; none: as the two keys below say"
    )
    intermediate_sizes: tuple[int, ...] = Field(
        default=(), description="Width of each layer's dense network, where they differ"
    )
    num_local_experts: int | None = Field(
        default=None, ge=1, le=100_000, description="Routed experts a layer (Mixtral's name)"
    )
    num_experts: int | None = Field(default=None, ge=1, le=100_000, description="Routed experts a layer (Qwen's name)")
    n_routed_experts: int | None = Field(
        default=None, ge=1, le=100_000, description="Routed experts a layer (DeepSeek's name)"
    )
    num_experts_per_tok: int = Field(default=0, ge=0, le=100_000, description="Routed experts each token uses")
    router_kernels: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Small kernels in which the engine chooses experts, where it is no single one",
    )
    n_shared_experts: int = Field(default=0, ge=0, le=100_000, description="Experts that every token uses")
    shared_expert_intermediate_size: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Width of all shared experts together; 0: n_shared_experts of one expert's width",
    )
    moe_intermediate_size: int | None = Field(default=None, ge=1, le=100_000_000, description="Width of one expert")
    moe_latent_size: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Width to which tokens are reduced before the routed experts"
    )
    intermediate_size_mlp: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Width of dense layers among MoE ones"
    )
    first_k_dense_replace: int = Field(default=0, ge=0, le=10_000, description="Leading layers that are dense")
    interleave_moe_layer_step: int = Field(default=1, ge=1, le=10_000, description="Every n-th layer is MoE")
    expert_bias: bool = Field(default=False, description="Biases inside experts and router")
    q_lora_rank: int | None = Field(default=None, ge=1, le=1_000_000, description="Latent attention: query rank")
    kv_lora_rank: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Latent attention: key and value rank"
    )
    qk_nope_head_dim: int = Field(
        default=0, ge=0, le=100_000, description="Latent attention: head width without position"
    )
    qk_rope_head_dim: int = Field(default=0, ge=0, le=100_000, description="Latent attention: head width with position")
    v_head_dim: int = Field(default=0, ge=0, le=100_000, description="Width of a value; 0: that of the head")
    indexer: IndexerShape | None = Field(default=None, description="Indexer of sparse latent attention")
    gated_delta_net: GatedDeltaNetShape | None = Field(default=None, description="Layers of type linear_attention")
    mamba: MambaShape | None = Field(default=None, description="Layers of type mamba")
    state_dtype: str | None = Field(
        default=None, description="Dtype of the states of linear_attention and mamba layers; null: torch_dtype"
    )
    extra_parameters: int = Field(default=0, ge=0, le=10**15, description="Other resident weights, e.g. a vision tower")
    default_sampling: DefaultSampling = Field(
        default=DefaultSampling(), description="The model's own sampling defaults"
    )
    left_out: tuple[str, ...] = Field(
        default=(), description="Parts of the checkpoint that are not modelled, for example a vision tower"
    )
    not_read: tuple[str, ...] = Field(default=(), description="Keys of its file that change nothing here")
    not_understood: tuple[str, ...] = Field(
        default=(), description="Keys of its file that change cost and were passed over at the user's request"
    )

    # -- architecture ---------------------------------------------------------------------------------------------

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer with its weights, operations, cache and state."""
        return build_layers(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a changed copy, whose layers are built anew."""
        copied = super().model_copy(update=update, deep=deep)
        for key in ("layers", "moe_layers", "attention_layers"):
            copied.__dict__.pop(key, None)
        return copied

    @property
    def experts(self) -> int:
        """Routed experts in a MoE layer; 0 for a dense model."""
        return self.num_local_experts or self.num_experts or self.n_routed_experts or 0

    @property
    def is_moe(self) -> bool:
        """True for a mixture of experts."""
        return self.experts > 0

    @property
    def is_latent_attention(self) -> bool:
        """True for multi-head latent attention (DeepSeek)."""
        return self.kv_lora_rank is not None

    def network_type(self, layer: int) -> str:
        """Return the feed-forward network of a layer, counted from 0: dense, sparse or none."""
        if self.mlp_layer_types:
            return self.mlp_layer_types[layer]
        behind, step = layer - self.first_k_dense_replace, self.interleave_moe_layer_step
        return "sparse" if self.is_moe and behind >= 0 and behind % step == step - 1 else "dense"

    def dense_width(self, layer: int) -> int:
        """Return the width of a dense network in a layer, counted from 0; 0 where it has experts."""
        if self.network_type(layer) == "sparse":
            return 0
        if self.intermediate_sizes:
            return self.intermediate_sizes[layer]
        return (self.intermediate_size_mlp if self.is_moe else 0) or self.intermediate_size

    @cached_property
    def moe_layers(self) -> int:
        """Number of layers with experts."""
        return sum(layer.experts is not None for layer in self.layers)

    @cached_property
    def attention_layers(self) -> int:
        """Number of layers that keep keys and values of every token."""
        return sum(layer.mixer is not None and layer.mixer.keeps_tokens for layer in self.layers)

    @property
    def state_layers(self) -> int:
        """Number of layers that keep a state of constant size."""
        return sum(kind in STATE_TYPES for kind in self.layer_types)

    @property
    def windowed_layers(self) -> int:
        """Number of layers with an attention window, sliding or in chunks."""
        if self.layer_types:
            return sum(kind in {"sliding_attention", "chunked_attention"} for kind in self.layer_types)
        return self.num_hidden_layers if self.window_tokens else 0

    def is_windowed(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, has an attention window."""
        if self.layer_types:
            return self.layer_types[layer] in {"sliding_attention", "chunked_attention"}
        return self.window_tokens > 0

    def has_state(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, keeps a state of constant size."""
        return bool(self.layer_types) and self.layer_types[layer] in STATE_TYPES

    @property
    def is_chunked_attention(self) -> bool:
        """True if the windows are chunks."""
        return "chunked_attention" in self.layer_types

    @property
    def window_tokens(self) -> int:
        """Tokens of the window or chunk; 0 without one."""
        if self.layer_types and not self.windowed_layers:
            return 0
        return (self.attention_chunk_size if self.is_chunked_attention else self.sliding_window) or 0

    @property
    def is_uniform(self) -> bool:
        """True if every layer has attention and a network of the same shape, but for windows and experts."""
        has_kinds = self.state_layers or "none" in self.layer_types or self.intermediate_sizes
        return not (has_kinds or self.sliding or self.indexer)

    @field_validator("torch_dtype", "weight_dtype", "expert_weight_dtype", "kv_cache_dtype", "state_dtype")
    @classmethod
    def _check_dtype(cls, dtype: str | None) -> str | None:
        if dtype is not None and dtype not in DTYPES:
            known = list(DTYPES)
            raise ValueError(f"unknown dtype {dtype!r}{suggestion(dtype, known)}; known: {', '.join(known)}")
        return dtype

    @model_validator(mode="after")
    def _check_layer_types(self) -> Self:
        kinds, count = self.layer_types, self.num_hidden_layers
        for key, entries in (
            ("layer_types", kinds),
            ("mlp_layer_types", self.mlp_layer_types),
            ("intermediate_sizes", self.intermediate_sizes),
        ):
            if entries and len(entries) != count:
                raise ValueError(f"{key}: {len(entries)} entries for {count} layers")
        if {"sliding_attention", "chunked_attention"} <= set(kinds):
            raise ValueError("layer_types: sliding and chunked attention in one model are not known here")
        if set(kinds) >= STATE_TYPES:
            raise ValueError("layer_types: linear attention and Mamba in one model are not known here")
        for kind, key, value in (
            ("sliding_attention", "sliding_window", self.sliding_window),
            ("chunked_attention", "attention_chunk_size", self.attention_chunk_size),
            ("linear_attention", "gated_delta_net", self.gated_delta_net),
            ("mamba", "mamba", self.mamba),
        ):
            if kind in kinds and not value:
                raise ValueError(f"{key}: missing, although layer_types has {kind}")
        if kinds and not any(kind.endswith("_attention") and kind != "linear_attention" for kind in kinds):
            raise ValueError("layer_types: a model without any attention is not known here")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        if self.kv_lora_rank is None and heads % kv_heads:
            raise ValueError(f"num_key_value_heads: {kv_heads} does not divide the {heads} attention heads")
        if self.kv_lora_rank is not None and not self.qk_nope_head_dim + self.qk_rope_head_dim:
            raise ValueError("qk_nope_head_dim: missing with latent attention (kv_lora_rank)")
        if self.sliding is not None and self.sliding.num_attention_heads % self.sliding.num_key_value_heads:
            raise ValueError(
                f"sliding: num_key_value_heads {self.sliding.num_key_value_heads} does not divide the "
                f"{self.sliding.num_attention_heads} attention heads"
            )
        return self

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        counts = [self.num_local_experts, self.num_experts, self.n_routed_experts]
        if sum(count is not None for count in counts) > 1:
            raise ValueError("num_experts: num_local_experts and n_routed_experts are other names of it; give one")
        if not self.is_moe and (self.num_experts_per_tok or self.n_shared_experts):
            raise ValueError("num_experts: missing, although the model has experts for a token")
        if self.first_k_dense_replace > self.num_hidden_layers:
            raise ValueError(
                f"first_k_dense_replace: {self.first_k_dense_replace} dense layers of {self.num_hidden_layers}"
            )
        if self.is_moe and not 0 < self.num_experts_per_tok <= self.experts:
            raise ValueError(
                f"num_experts_per_tok: {self.num_experts_per_tok} of {self.experts} experts; a token uses at least one"
            )
        if self.is_moe and not (self.moe_intermediate_size or self.intermediate_size):
            raise ValueError("moe_intermediate_size: missing, the width of one expert")
        kinds = {self.network_type(layer) for layer in range(self.num_hidden_layers)}
        if "sparse" in kinds and not self.is_moe:
            raise ValueError("mlp_layer_types: sparse layers need a number of experts")
        if "dense" in kinds and not (self.intermediate_size or self.intermediate_sizes or self.intermediate_size_mlp):
            raise ValueError("intermediate_size: missing, the width of the dense layers")
        if self.indexer is not None and self.kv_lora_rank is None:
            raise ValueError("indexer: known with latent attention (kv_lora_rank) only")
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        published = self.published_parameters
        if published and abs(self.total_parameters / published - 1) > PUBLISHED_TOLERANCE:
            raise ValueError(
                f"published_parameters: {published:.4g}, but the shapes add up to {self.total_parameters:.4g}; one of "
                "them is wrong (0 leaves the check out)"
            )
        return self

    # -- precision ------------------------------------------------------------------------------------------------

    @property
    def activation_dtype(self) -> str:
        """Dtype of activations in our names."""
        return DTYPES[self.torch_dtype]

    def part_precision(self, part: Part) -> PartPrecision:
        """Return how a part's weights are stored."""
        found = self.precision.get(part)
        if found is not None:
            return found
        chosen = None if part == "head" else self.weight_dtype
        if part == "experts":
            chosen = self.expert_weight_dtype or chosen
        dtype = DTYPES[chosen] if chosen else self.activation_dtype
        return PartPrecision(dtype=dtype, bits=8.0 * weight_bytes(dtype), arithmetic=dtype)

    @property
    def projection_dtype(self) -> str:
        """Type in which most products outside the routed experts are computed."""
        counts: dict[Part, int] = {}
        for layer in self.layers:
            for projection in layer.projections():
                if projection.part != "experts":
                    counts[projection.part] = counts.get(projection.part, 0) + projection.parameters
        return self.part_precision(max(counts, key=lambda part: counts[part])).arithmetic

    @property
    def expert_dtype(self) -> str:
        """Type in which the products of routed experts are computed."""
        return self.part_precision("experts").arithmetic

    @property
    def state_element_bytes(self) -> float:
        """Bytes of one number of a state."""
        return weight_bytes(DTYPES[self.state_dtype] if self.state_dtype else self.activation_dtype)

    # -- parameters -----------------------------------------------------------------------------------------------

    @property
    def expert_parameters(self) -> int:
        """Weights of one routed expert; 0 for a dense model."""
        return next((layer.experts.expert_parameters for layer in self.layers if layer.experts is not None), 0)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding; the head has as many unless tied."""
        return self.vocab_size * self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Resident weights of the head: 0 when tied to the embedding."""
        return 0 if self.tie_word_embeddings else self.embedding_parameters

    @property
    def total_parameters(self) -> int:
        """All parameters, as a published count has them."""
        return (
            sum(layer.parameters + layer.small_parameters(self.hidden_size) for layer in self.layers)
            + self.embedding_parameters
            + self.head_parameters
            + self.hidden_size
            + self.extra_parameters
        )

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses."""
        idle_experts = max(0, self.experts - self.num_experts_per_tok) if self.is_moe else 0
        return self.total_parameters - self.moe_layers * idle_experts * self.expert_parameters


def load_model(name: str, *, allow_unknown: bool = False) -> Model:
    """Load a model by its name in ``conf/models``, or by the path of a YAML file or of a raw ``config.json``.

    ``allow_unknown`` passes over what a raw file has that is not understood and changes cost.  Raises InputError when
    the name is unknown (the message lists the known ones) or the file is wrong.
    """
    path = library_file("models", name)
    data = load_mapping(path)
    if path.suffix == ".json" and "name" not in data:
        beside = quantization_file(path)
        config = read_config(path, data, load_mapping(beside) if beside else None, allow_unknown=allow_unknown)
        model = validated(Model, config.fields, path)
        precision = config.precision(model.layers, model.embedding_parameters, model.activation_dtype)
        model = validated(Model, config.fields | {"precision": precision}, path)
    else:
        size, heads = data.get("hidden_size"), data.get("num_attention_heads")
        if "head_dim" not in data and isinstance(size, int) and isinstance(heads, int) and heads > 0:
            data["head_dim"] = size // heads
        model = validated(Model, {"name": path.stem, **data}, path)
    return model


def model_names() -> list[str]:
    """Return the names of the models in ``conf/models``, sorted."""
    return library_names("models")
