"""Mixers with a state of constant size instead of a cache: gated delta net (linear attention) and Mamba-2."""

from dataclasses import dataclass
from typing import ClassVar

from cluster_sim.hardware.layers.mixer import Mixer, Part, Projection, StateShape


@dataclass(frozen=True, slots=True)
class GatedDeltaNet(Mixer):
    """Linear attention with the gated delta rule: a matrix of key width by value width a head."""

    part: ClassVar[Part] = "linear"

    hidden: int
    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    kernel: int
    """Tokens that the convolution before the recurrence sees."""

    @property
    def _keys(self) -> int:
        return self.key_heads * self.key_width

    @property
    def _values(self) -> int:
        return self.value_heads * self.value_width

    def projections(self) -> list[Projection]:
        """Return the matrices of query, key, value and gate, of decay and rate, and of the output."""
        found = [
            ("in_proj_qkv", self.hidden * (2 * self._keys + self._values)),
            ("in_proj_z", self.hidden * self._values),
            ("in_proj_ba", self.hidden * 2 * self.value_heads),
            ("out_proj", self._values * self.hidden),
        ]
        return [Projection(f"linear_attn.{name}", self.part, count) for name, count in found]

    def parameters_on_gpu(self, tensor_parallel: int) -> float:
        """Return the weights on one GPU: heads are split."""
        return self.parameters / tensor_parallel

    @property
    def small_parameters(self) -> int:
        """Convolution, decay, bias of the step, and norm."""
        return (2 * self._keys + self._values) * self.kernel + 2 * self.value_heads + self.value_width

    def activation_width(self, tensor_parallel: int) -> float:
        """Return query, key, value, gate and output of a token on one GPU."""
        return (2 * self._keys + 3 * self._values) / tensor_parallel

    def state(self, tensor_parallel: int) -> StateShape:
        """Return the last inputs of the convolution and the matrices of the heads."""
        convolution = (self.kernel - 1) * (2 * self._keys + self._values)
        recurrent = self.value_heads * self.key_width * self.value_width
        return StateShape(convolution // tensor_parallel, recurrent // tensor_parallel)

    @property
    def state_flops(self) -> float:
        """Two each for what the key retrieves, for the update and for what the query retrieves."""
        return 6.0 * self.value_heads * self.key_width * self.value_width


@dataclass(frozen=True, slots=True)
class Mamba2(Mixer):
    """State-space layer of Mamba-2: a matrix of head width by state size a head."""

    part: ClassVar[Part] = "linear"

    hidden: int
    heads: int
    head_width: int
    state_size: int
    groups: int
    """Sets of input and output projections of the state, each shared by several heads."""
    kernel: int

    @property
    def _inner(self) -> int:
        return self.heads * self.head_width

    @property
    def _convolved(self) -> int:
        return self._inner + 2 * self.groups * self.state_size

    def projections(self) -> list[Projection]:
        """Return the matrix of gate, input, state projections and step, and the one of the output."""
        return [
            Projection("mixer.in_proj", self.part, self.hidden * (self._inner + self._convolved + self.heads)),
            Projection("mixer.out_proj", self.part, self._inner * self.hidden),
        ]

    def parameters_on_gpu(self, tensor_parallel: int) -> float:
        """Return the weights on one GPU: heads are split, groups repeated if there are fewer of them than GPUs."""
        groups = -(-self.groups // tensor_parallel)
        inner = self._inner / tensor_parallel
        return self.hidden * (3 * inner + 2 * groups * self.state_size + self.heads / tensor_parallel)

    @property
    def small_parameters(self) -> int:
        """Convolution with bias, decay, skip and bias of the step, and norm."""
        return self._convolved * (self.kernel + 1) + 3 * self.heads + self._inner

    def activation_width(self, tensor_parallel: int) -> float:
        """Return gate, input, state projections and output of a token on one GPU."""
        return (2 * self._inner + self._convolved) / tensor_parallel

    def state(self, tensor_parallel: int) -> StateShape:
        """Return the last inputs of the convolution and the matrices of the heads."""
        groups = -(-self.groups // tensor_parallel)
        convolved = self._inner // tensor_parallel + 2 * groups * self.state_size
        return StateShape(
            (self.kernel - 1) * convolved, self.heads * self.head_width * self.state_size // tensor_parallel
        )

    @property
    def state_flops(self) -> float:
        """Two each for decay, update and what the output projection retrieves."""
        return 6.0 * self.heads * self.head_width * self.state_size
