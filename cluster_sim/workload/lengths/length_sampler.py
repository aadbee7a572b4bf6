"""Prompt and output lengths, drawn by request index: the axis and its registry."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream


class LengthSampler(Protocol):
    """Gives each index its two lengths."""

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return prompt and output tokens of indices ``first`` to ``first + count - 1``, each at least 1."""


LENGTHS: Final = Registry[Callable[[Any, Stream], LengthSampler]](
    "kind of lengths", "cluster_sim.workload.lengths.samplers", "cluster_sim.lengths", default="independent"
)
"""Samplers, each made from its options and a stream of random numbers."""


class LengthOptions(ConfigModel):
    """Parameters of prompt and output lengths; ``kind`` tells them apart, and may be left out for independent ones."""

    kind: str


if TYPE_CHECKING:
    Lengths = LengthOptions
else:
    Lengths = LENGTHS.annotation()


def build_lengths(options: Lengths, stream: Stream) -> LengthSampler:
    """Return the sampler of configured lengths; InputError for a wrong file."""
    return LENGTHS.chosen_by(options).part(options, stream)


class PairSampler:
    """Pairs drawn together, with replacement, by weight."""

    def __init__(self, prompt: Ints, output: Ints, weights: Floats | None, stream: Stream) -> None:
        self._prompt, self._output = prompt, output
        self._edges = None if weights is None else np.cumsum(weights) / weights.sum()
        self._stream = stream.child("pair")

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return prompt and output tokens of indices from ``first`` on."""
        uniforms = self._stream.uniforms(first, count)
        if self._edges is None:
            rows = (uniforms * len(self._prompt)).astype(np.int64)
        else:
            rows = np.searchsorted(self._edges, uniforms, side="left")
        rows = np.minimum(rows, len(self._prompt) - 1)
        return self._prompt[rows], self._output[rows]
