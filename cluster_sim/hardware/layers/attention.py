"""Attention with grouped queries: several query heads share a key and value head."""

from dataclasses import dataclass

from cluster_sim.hardware.layers.mixer import Mixer, Projection


@dataclass(frozen=True, slots=True)
class GroupedAttention(Mixer):
    """Attention whose cache has keys and values of a few heads."""

    hidden: int
    heads: int
    kv_heads: int
    key_width: int
    """Width of a head's query and key."""
    value_width: int
    has_output_gate: bool = False
    """Whether the query projection gives a gate of the output as well."""
    has_value_projection: bool = True
    """False if the value is the key before its norm and rotation."""
    has_bias: bool = False
    has_output_bias: bool = False
    has_qk_norm: bool = False

    def projections(self) -> list[Projection]:
        """Return the matrices of query, key, value and output."""
        values = self.hidden * self.kv_heads * self.value_width if self.has_value_projection else 0
        return [
            Projection("self_attn.q_proj", "attention", self._query_parameters),
            Projection("self_attn.k_proj", "attention", self.hidden * self.kv_heads * self.key_width),
            Projection("self_attn.v_proj", "attention", values),
            Projection("self_attn.o_proj", "attention", self._output_parameters),
        ]

    @property
    def _query_parameters(self) -> int:
        return self.hidden * self.heads * self.key_width * (2 if self.has_output_gate else 1)

    @property
    def _output_parameters(self) -> int:
        return self.heads * self.value_width * self.hidden

    def parameters_on_gpu(self, tensor_parallel: int) -> float:
        """Return the weights on one GPU: key and value heads are repeated if there are fewer of them than GPUs."""
        kv_heads = -(-self.kv_heads // tensor_parallel)
        widths = self.key_width + (self.value_width if self.has_value_projection else 0)
        split = self._query_parameters + self._output_parameters
        return split / tensor_parallel + self.hidden * kv_heads * widths

    @property
    def small_parameters(self) -> int:
        """Norms of queries and keys, and biases."""
        count = 2 * self.key_width if self.has_qk_norm else 0
        if self.has_bias:
            count += self.heads * self.key_width + self.kv_heads * (self.key_width + self.value_width)
        return count + (self.hidden if self.has_output_bias else 0)

    def activation_width(self, tensor_parallel: int) -> float:
        """Return query, key, value and output of a token on one GPU."""
        widths = self.key_width + self.value_width
        query = self.heads * self.key_width if self.has_output_gate else 0
        return (self.heads * widths + self.kv_heads * widths + query) / tensor_parallel

    @property
    def keeps_tokens(self) -> bool:
        """True."""
        return True

    def kv_elements(self, tensor_parallel: int) -> int:
        """Return the key and value of the heads that one GPU has."""
        return (self.key_width + self.value_width) * -(-self.kv_heads // tensor_parallel)

    @property
    def pair_flops(self) -> float:
        """Two for score and value each, per width."""
        return 2.0 * self.heads * (self.key_width + self.value_width)
