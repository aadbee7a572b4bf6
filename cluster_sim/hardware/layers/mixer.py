"""Mixers, through which tokens of a sequence see each other: attention, or a state of constant size."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

Part = Literal["attention", "linear", "mlp", "shared_experts", "experts", "head"]
"""Matrices of a model that may have a precision of their own: attention, mixers with a state, dense networks, shared
and routed experts, and the head."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Weight matrices of a layer that share a name."""

    name: str
    """Path inside the layer, as checkpoints write it: ``self_attn.q_proj``; one of several experts stands for all."""
    part: Part
    parameters: int


@dataclass(frozen=True, slots=True)
class StateShape:
    """Numbers that a layer keeps for a sequence, however long it is."""

    convolution: int
    """Inputs of the short convolution that the next tokens need, in the type of the activations."""
    recurrent: int
    """The state proper, in a type of its own."""


NO_STATE = StateShape(0, 0)


class Mixer(ABC):
    """One layer's mixer; figures are those of the whole layer unless a tensor degree is given."""

    part: ClassVar[Part] = "attention"

    @abstractmethod
    def projections(self) -> list[Projection]:
        """Return the weight matrices."""

    @property
    def parameters(self) -> int:
        """Weights of the matrices."""
        return sum(projection.parameters for projection in self.projections())

    @abstractmethod
    def parameters_on_gpu(self, tensor_parallel: int) -> float:
        """Return the weights of the matrices on one GPU."""

    @property
    @abstractmethod
    def small_parameters(self) -> int:
        """Norms, biases and convolutions, never split or quantised."""

    @abstractmethod
    def activation_width(self, tensor_parallel: int) -> float:
        """Return the numbers per token at the mixer's widest point, on one GPU."""

    # ------------------------------------------------------------------------------------ what sequences keep and read

    @property
    def keeps_tokens(self) -> bool:
        """Whether every token leaves keys and values in the cache."""
        return False

    def kv_elements(self, tensor_parallel: int) -> int:  # noqa: ARG002
        """Return the numbers that one token keeps in the cache of one GPU."""
        return 0

    @property
    def index_key_bytes(self) -> int:
        """Bytes that one token adds for an indexer, on every GPU."""
        return 0

    @property
    def pair_flops(self) -> float:
        """Operations per (query, key) pair, split over the GPUs."""
        return 0.0

    @property
    def index_pair_flops(self) -> float:
        """Operations of an indexer per (query, key) pair, repeated on every GPU."""
        return 0.0

    def state(self, tensor_parallel: int) -> StateShape:  # noqa: ARG002
        """Return what one GPU keeps for a sequence."""
        return NO_STATE

    @property
    def state_flops(self) -> float:
        """Operations on the state per token, split over the GPUs."""
        return 0.0
