"""Parts of a model's file: sampling defaults and shapes that only some architectures have."""

from pydantic import Field

from cluster_sim.hardware.library_model import LibraryModel


class DefaultSampling(LibraryModel):
    """The sampling parameters of the model's ``generation_config.json``, which vLLM applies by default."""

    temperature: float = Field(default=1.0, ge=0, le=100, description="0 means greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="1 switches it off")
    top_k: int = Field(default=-1, ge=-1, le=100_000_000, description="-1 or 0 switches it off")

    @property
    def is_sorting(self) -> bool:
        """True when sampling needs a top-p or top-k pass over the vocabulary."""
        return self.temperature > 0 and (self.top_p < 1 or self.top_k > 0)


class SlidingHeads(LibraryModel):
    """Heads of layers with a sliding window, where they differ from those of the other layers."""

    num_attention_heads: int = Field(ge=1, le=1_000_000, description="Query heads")
    num_key_value_heads: int = Field(ge=1, le=1_000_000, description="Key and value heads")
    head_dim: int = Field(ge=1, le=1_000_000, description="Width of one head")
    v_head_dim: int = Field(default=0, ge=0, le=100_000, description="Width of a value; 0: that of the head")


class GatedDeltaNetShape(LibraryModel):
    """Shape of linear-attention layers with the gated delta rule (Qwen3-Next)."""

    key_heads: int = Field(ge=1, le=1_000_000, description="Key and query heads")
    value_heads: int = Field(ge=1, le=1_000_000, description="Value heads, each with a state")
    key_head_dim: int = Field(ge=1, le=1_000_000, description="Width of a key")
    value_head_dim: int = Field(ge=1, le=1_000_000, description="Width of a value")
    conv: int = Field(default=4, ge=1, le=1000, description="Tokens that the convolution sees")


class MambaShape(LibraryModel):
    """Shape of Mamba-2 layers."""

    heads: int = Field(ge=1, le=1_000_000, description="Heads, each with a state")
    head_dim: int = Field(ge=1, le=1_000_000, description="Width of a head")
    state_size: int = Field(ge=1, le=1_000_000, description="Length of the state of each number")
    groups: int = Field(ge=1, le=1_000_000, description="Sets of input and output projections of the state")
    conv: int = Field(default=4, ge=1, le=1000, description="Tokens that the convolution sees")


class IndexerShape(LibraryModel):
    """The indexer of sparse attention (DeepSeek-V3.2)."""

    heads: int = Field(ge=1, le=1_000_000, description="Index heads")
    head_dim: int = Field(ge=1, le=1_000_000, description="Width of an index head")
    top_k: int = Field(ge=1, le=1_000_000, description="Tokens that the attention reads at most")
    layers: tuple[int, ...] = Field(
        default=(), description="Layers that have an indexer, counted from 0; the others use the one before; none: all"
    )
