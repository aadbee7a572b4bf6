"""Multi-head latent attention (DeepSeek): the cache has one compressed vector a token, the same on every GPU.

With an indexer it is sparse: small index keys of all tokens choose those that the attention proper reads.
"""

from dataclasses import dataclass
from typing import Final

from cluster_sim.hardware.layers.mixer import Mixer, Projection

INDEX_SCALE_BYTES: Final = 4
"""Index keys are fp8 with one scale each, whatever the precision of the cache."""


@dataclass(frozen=True, slots=True)
class Indexer:
    """Heads that score all tokens of the context."""

    heads: int
    width: int
    top_k: int
    """Tokens that the attention then reads at most."""


@dataclass(frozen=True, slots=True)
class LatentAttention(Mixer):
    """Latent attention, with an indexer where it is sparse."""

    hidden: int
    heads: int
    query_rank: int
    """0: queries are projected in one step."""
    kv_rank: int
    nope_width: int
    rope_width: int
    value_width: int
    indexer: Indexer | None = None

    def projections(self) -> list[Projection]:
        """Return the matrices of the attention proper and of the indexer."""
        queries = self.heads * (self.nope_width + self.rope_width)
        found = [
            ("q_a_proj", self.hidden * self.query_rank),
            ("q_b_proj" if self.query_rank else "q_proj", (self.query_rank or self.hidden) * queries),
            ("kv_a_proj_with_mqa", self.hidden * (self.kv_rank + self.rope_width)),
            ("kv_b_proj", self.kv_rank * self.heads * (self.nope_width + self.value_width)),
            ("o_proj", self.heads * self.value_width * self.hidden),
        ]
        if self.indexer is not None:
            found += [
                ("indexer.wq_b", (self.query_rank or self.hidden) * self.indexer.heads * self.indexer.width),
                ("indexer.wk", self.hidden * self.indexer.width),
                ("indexer.weights_proj", self.hidden * self.indexer.heads),
            ]
        return [Projection(f"self_attn.{name}", "attention", count) for name, count in found if count]

    def parameters_on_gpu(self, tensor_parallel: int) -> float:
        """Return the weights on one GPU: down-projections and the indexer are repeated."""
        repeated = self.hidden * (self.kv_rank + self.rope_width) + self.hidden * self.query_rank
        repeated += sum(projection.parameters for projection in self.projections() if ".indexer." in projection.name)
        return repeated + (self.parameters - repeated) / tensor_parallel

    @property
    def small_parameters(self) -> int:
        """Norms of the compressed vectors, and of the index keys."""
        return self.kv_rank + self.query_rank + (2 * self.indexer.width if self.indexer else 0)

    def activation_width(self, tensor_parallel: int) -> float:
        """Return query, key, value and output of a token on one GPU."""
        width = self.nope_width + self.rope_width
        return self.heads * 4 * width / tensor_parallel

    @property
    def keeps_tokens(self) -> bool:
        """True."""
        return True

    def kv_elements(self, tensor_parallel: int) -> int:  # noqa: ARG002
        """Return the compressed vector and the rotated key."""
        return self.kv_rank + self.rope_width

    @property
    def index_key_bytes(self) -> int:
        """One byte a number of the index key, and its scale."""
        return self.indexer.width + INDEX_SCALE_BYTES if self.indexer else 0

    @property
    def pair_flops(self) -> float:
        """Two for score and value each, per width."""
        return 2.0 * self.heads * (self.nope_width + self.rope_width + self.value_width)

    @property
    def index_pair_flops(self) -> float:
        """Two for the score, per width of every index head."""
        return 2.0 * self.indexer.heads * self.indexer.width if self.indexer else 0.0
