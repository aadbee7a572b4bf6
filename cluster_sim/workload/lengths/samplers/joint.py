"""Lengths from a table of pairs."""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import Tokens, Weight
from cluster_sim.workload.lengths.length_sampler import LENGTHS, LengthOptions, PairSampler
from cluster_sim.workload.sampling.random_streams import Stream


class JointLengths(LengthOptions):
    """Pairs of prompt and output lengths given in the study, drawn by weight: a joint histogram."""

    example: ClassVar = {"prompt_tokens": [100, 2000], "output_tokens": [300, 20], "weights": [3, 1]}

    kind: Literal["joint"]
    prompt_tokens: tuple[Tokens, ...] = Field(min_length=1, description="Prompt tokens of each pair.")
    output_tokens: tuple[Tokens, ...] = Field(min_length=1, description="Output tokens of each pair.")
    weights: tuple[Weight, ...] | None = Field(default=None, description="Weight of each pair; equal when absent.")

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if len(self.prompt_tokens) != len(self.output_tokens):
            raise ValueError("prompt_tokens and output_tokens must have the same number of items")
        if self.weights is not None:
            if len(self.weights) != len(self.prompt_tokens):
                raise ValueError("each pair needs one weight")
            if sum(self.weights) <= 0:
                raise ValueError("weights must not all be zero")
        return self


@LENGTHS.register("joint", JointLengths)
def build_joint(options: JointLengths, stream: Stream) -> PairSampler:
    """Return the sampler of the given pairs."""
    return PairSampler(
        np.asarray(options.prompt_tokens, dtype=np.int64),
        np.asarray(options.output_tokens, dtype=np.int64),
        None if options.weights is None else np.asarray(options.weights, dtype=np.float64),
        stream,
    )
