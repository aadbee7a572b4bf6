"""Models: architectures in the field names of a Hugging Face ``config.json``, and what follows from them.

Parameter counts follow from shapes: every projection, bias and norm is counted, so ``scripts/check_models.py`` can hold
the sums against the published ones.
"""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import DTYPE_BYTES
from cluster_sim.hardware.huggingface import huggingface_fields
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.library import library_file, library_names

DTYPES: Final[dict[str, str]] = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "half": "fp16",
    "float8_e4m3fn": "fp8",
    **{name: name for name in ("fp32", "fp16", "bf16", "fp8", "int8", "fp4", "int4")},
}
"""Names of dtypes as configurations write them, and ours."""

_SCALE_BITS: Final[dict[str, float]] = {"fp4": 8 / 32, "int4": 16 / 128, "fp8": 0.0, "int8": 0.0}
"""Bits of scale per weight: MXFP4 has 8 bits per 32 weights, int4 16 bits per group of 128."""


LayerType = Literal["full_attention", "sliding_attention", "chunked_attention"]


class DefaultSampling(BaseModel):
    """The sampling parameters of the model's ``generation_config.json``, which vLLM applies by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=1.0, ge=0, description="0 means greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="1 switches it off")
    top_k: int = Field(default=-1, description="-1 or 0 switches it off")

    @property
    def is_sorting(self) -> bool:
        """True when sampling needs a top-p or top-k pass over the vocabulary."""
        return self.temperature > 0 and (self.top_p < 1 or self.top_k > 0)


class Model(BaseModel):
    """A decoder-only transformer, dense or mixture of experts, with grouped-query or latent attention."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name used in studies, equal to the file's name")
    hf_id: str = Field(default="", description="Repository on Hugging Face whose config.json this is")
    source: str = Field(default="", description="Where the figures come from")
    published_parameters: float = Field(default=0.0, ge=0, description="Published total parameter count; 0: none")
    model_type: str = Field(default="llama", description="Architecture family")
    hidden_size: int = Field(ge=1, description="Width of the residual stream")
    num_hidden_layers: int = Field(ge=1, description="Transformer layers")
    num_attention_heads: int = Field(ge=1, description="Query heads")
    num_key_value_heads: int = Field(ge=1, description="Key and value heads")
    head_dim: int = Field(ge=1, description="Width of one head; hidden_size / num_attention_heads when left out")
    intermediate_size: int = Field(ge=1, description="Width of the feed-forward network")
    vocab_size: int = Field(ge=1, description="Vocabulary")
    max_position_embeddings: int = Field(ge=1, description="Longest context, tokens")
    torch_dtype: str = Field(default="bfloat16", description="Dtype of activations and, unless quantised, weights")
    weight_dtype: str | None = Field(default=None, description="Dtype of quantised projections; null: torch_dtype")
    expert_weight_dtype: str | None = Field(
        default=None, description="Dtype of the routed experts' weights where only they are quantised"
    )
    tie_word_embeddings: bool = Field(default=False, description="The head shares the embedding's weights")
    hidden_act: str = Field(default="silu", description="Activation function")
    is_gated_mlp: bool = Field(
        default=True, description="Gate, up and down projection (SwiGLU) rather than up and down"
    )
    attention_bias: bool = Field(default=False, description="Biases on the query, key and value projections")
    attention_output_bias: bool = Field(default=False, description="Bias on the output projection")
    use_qk_norm: bool = Field(default=False, description="Norm of each query and key head")
    sliding_window: int | None = Field(
        default=None, ge=1, description="Tokens that a sliding layer's token sees, itself included; null: all"
    )
    attention_chunk_size: int | None = Field(
        default=None, ge=1, description="Chunked layers: tokens of a chunk, in which a token sees what precedes it"
    )
    layer_types: tuple[LayerType, ...] = Field(
        default=(), description="Attention of every layer; none: all have the window, where one is set"
    )
    num_local_experts: int | None = Field(default=None, ge=1, description="Routed experts a layer (Mixtral's name)")
    num_experts: int | None = Field(default=None, ge=1, description="Routed experts a layer (Qwen's name)")
    n_routed_experts: int | None = Field(default=None, ge=1, description="Routed experts a layer (DeepSeek's name)")
    num_experts_per_tok: int = Field(default=0, ge=0, description="Routed experts each token uses")
    n_shared_experts: int = Field(default=0, ge=0, description="Experts that every token uses")
    moe_intermediate_size: int | None = Field(default=None, ge=1, description="Width of one expert")
    intermediate_size_mlp: int | None = Field(default=None, ge=1, description="Width of dense layers among MoE ones")
    first_k_dense_replace: int = Field(default=0, ge=0, description="Leading layers that are dense")
    interleave_moe_layer_step: int = Field(default=1, ge=1, description="Every n-th layer is MoE")
    expert_bias: bool = Field(default=False, description="Biases inside experts and router")
    q_lora_rank: int | None = Field(default=None, ge=1, description="Latent attention: query rank")
    kv_lora_rank: int | None = Field(default=None, ge=1, description="Latent attention: key and value rank")
    qk_nope_head_dim: int = Field(default=0, ge=0, description="Latent attention: head width without position")
    qk_rope_head_dim: int = Field(default=0, ge=0, description="Latent attention: head width with position")
    v_head_dim: int = Field(default=0, ge=0, description="Latent attention: value width")
    extra_parameters: int = Field(default=0, ge=0, description="Other resident weights, e.g. a vision tower")
    default_sampling: DefaultSampling = Field(
        default=DefaultSampling(), description="The model's own sampling defaults"
    )

    # -- architecture ---------------------------------------------------------------------------------------------

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

    @property
    def moe_layers(self) -> int:
        """Number of layers with experts."""
        if not self.is_moe:
            return 0
        return (self.num_hidden_layers - self.first_k_dense_replace) // self.interleave_moe_layer_step

    @property
    def dense_layers(self) -> int:
        """Number of layers with a plain feed-forward network."""
        return self.num_hidden_layers - self.moe_layers

    @property
    def windowed_layers(self) -> int:
        """Number of layers with an attention window, sliding or in chunks."""
        if self.layer_types:
            return sum(kind != "full_attention" for kind in self.layer_types)
        return self.num_hidden_layers if self.window_tokens else 0

    def is_windowed(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, has an attention window."""
        return self.layer_types[layer] != "full_attention" if self.layer_types else self.window_tokens > 0

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

    @model_validator(mode="after")
    def _check_layer_types(self) -> Self:
        kinds = self.layer_types
        if kinds and len(kinds) != self.num_hidden_layers:
            raise ValueError(f"layer_types: {len(kinds)} entries for {self.num_hidden_layers} layers")
        if {"sliding_attention", "chunked_attention"} <= set(kinds):
            raise ValueError("layer_types: sliding and chunked attention in one model are not known here")
        if "sliding_attention" in kinds and not self.sliding_window:
            raise ValueError("sliding_window: missing, although layer_types has sliding_attention")
        if "chunked_attention" in kinds and not self.attention_chunk_size:
            raise ValueError("attention_chunk_size: missing, although layer_types has chunked_attention")
        return self

    @property
    def activation_dtype(self) -> str:
        """Dtype of activations in our names."""
        return DTYPES[self.torch_dtype]

    @property
    def projection_dtype(self) -> str:
        """Dtype of the projections' weights in our names."""
        return DTYPES[self.weight_dtype] if self.weight_dtype else self.activation_dtype

    @property
    def expert_dtype(self) -> str:
        """Dtype of the routed experts' weights in our names."""
        return DTYPES[self.expert_weight_dtype] if self.expert_weight_dtype else self.projection_dtype

    # -- parameters -----------------------------------------------------------------------------------------------

    @property
    def attention_parameters(self) -> int:
        """Projection weights of one attention layer, without norms and biases."""
        if self.kv_lora_rank is not None:
            heads, rope = self.num_attention_heads, self.qk_rope_head_dim
            query_width = heads * (self.qk_nope_head_dim + rope)
            query = (
                self.hidden_size * self.q_lora_rank + self.q_lora_rank * query_width
                if self.q_lora_rank
                else self.hidden_size * query_width
            )
            down = self.hidden_size * (self.kv_lora_rank + rope)
            up = self.kv_lora_rank * heads * (self.qk_nope_head_dim + self.v_head_dim)
            return query + down + up + heads * self.v_head_dim * self.hidden_size
        q_width = self.num_attention_heads * self.head_dim
        kv_width = self.num_key_value_heads * self.head_dim
        return self.hidden_size * (2 * q_width + 2 * kv_width)

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert."""
        width = self.moe_intermediate_size or self.intermediate_size
        return self._mlp_matrices * self.hidden_size * width

    @property
    def shared_expert_parameters(self) -> int:
        """Weights of the shared experts of one MoE layer."""
        return self.n_shared_experts * self.expert_parameters

    @property
    def router_parameters(self) -> int:
        """Weights of one MoE layer's router."""
        return self.hidden_size * self.experts

    @property
    def dense_mlp_parameters(self) -> int:
        """Weights of one dense feed-forward layer."""
        width = (self.intermediate_size_mlp or self.intermediate_size) if self.is_moe else self.intermediate_size
        return self._mlp_matrices * self.hidden_size * width

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding; the head has as many unless tied."""
        return self.vocab_size * self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Resident weights of the head: 0 when tied to the embedding."""
        return 0 if self.tie_word_embeddings else self.embedding_parameters

    @property
    def small_parameters_per_layer(self) -> int:
        """Norms and attention biases of one layer, never split or quantised."""
        norms = 2 * self.hidden_size
        if self.kv_lora_rank is not None:
            return norms + self.kv_lora_rank + (self.q_lora_rank or 0)
        if self.use_qk_norm:
            norms += 2 * self.head_dim
        biases = (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim if self.attention_bias else 0
        return norms + biases + (self.hidden_size if self.attention_output_bias else 0)

    @property
    def expert_bias_parameters(self) -> int:
        """Biases of one MoE layer."""
        if not self.expert_bias:
            return 0
        width = self.moe_intermediate_size or self.intermediate_size
        return self.experts * ((self._mlp_matrices - 1) * width + self.hidden_size) + self.experts

    @property
    def layer_projection_parameters(self) -> int:
        """Weights of every projection in the layers (what quantisation shrinks), over all layers."""
        return (
            self.num_hidden_layers * self.attention_parameters
            + self.dense_layers * self.dense_mlp_parameters
            + self.moe_layers * (self.experts * self.expert_parameters + self.shared_expert_parameters)
        )

    @property
    def total_parameters(self) -> int:
        """All parameters, as a published count has them."""
        return (
            self.layer_projection_parameters
            + self.num_hidden_layers * self.small_parameters_per_layer
            + self.moe_layers * (self.router_parameters + self.expert_bias_parameters)
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

    def kv_elements_per_token(self, tensor_parallel: int) -> int:
        """Return the numbers one token keeps in the cache of one GPU for one layer.

        Heads are split over the GPUs and repeated if there are fewer heads than GPUs; a latent cache is repeated on
        every GPU.
        """
        if self.kv_lora_rank is not None:
            return self.kv_lora_rank + self.qk_rope_head_dim
        return 2 * self.head_dim * -(-self.num_key_value_heads // tensor_parallel)

    @property
    def _mlp_matrices(self) -> int:
        return 3 if self.is_gated_mlp else 2


def weight_bytes(dtype: str) -> float:
    """Return the bytes of one stored weight of ``dtype`` (our names), block scales included."""
    return DTYPE_BYTES[dtype] + _SCALE_BITS.get(dtype, 0.0) / 8


def load_model(name: str) -> Model:
    """Load a model by its name in ``conf/models``, or by the path of a YAML file or of a raw ``config.json``.

    Raises InputError when the name is unknown (the message lists the known ones) or the file is wrong.
    """
    path = library_file("models", name)
    data = load_mapping(path)
    if path.suffix == ".json" and "name" not in data:
        fields = huggingface_fields(data, path.parent.name or path.stem, Model.model_fields)
        model = validated(Model, fields, path)
    else:
        if "head_dim" not in data and data.get("hidden_size") and data.get("num_attention_heads"):
            data["head_dim"] = int(data["hidden_size"]) // int(data["num_attention_heads"])
        model = validated(Model, data, path)
    for dtype in (model.torch_dtype, model.weight_dtype, model.expert_weight_dtype):
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"{path}: unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    return model


def model_names() -> list[str]:
    """Return the names of the models in ``conf/models``, sorted."""
    return library_names("models")
