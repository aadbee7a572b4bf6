"""Lengths from two distributions."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.workload.lengths.length_sampler import LENGTHS, LengthOptions
from cluster_sim.workload.sampling.distribution import Distribution, build_token_quantile
from cluster_sim.workload.sampling.normal_quantile import normal_quantile
from cluster_sim.workload.sampling.quantile import Quantile, to_tokens
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream


class IndependentLengths(LengthOptions):
    """Prompt and output lengths drawn from two independent distributions (or tied by a rank correlation)."""

    example: ClassVar = {"prompt": {"kind": "uniform", "min": 10, "max": 100}, "output": {"kind": "fixed", "value": 20}}

    kind: Literal["independent"] = "independent"
    prompt: Distribution = Field(description="Prompt tokens; rounded, at least 1.")
    output: Distribution = Field(description="Output tokens; rounded, at least 1.")
    correlation: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Correlation of a Gaussian copula that joins the two while keeping each one's distribution.",
    )


@LENGTHS.register("independent", IndependentLengths)
class IndependentSampler:
    """Two distributions, each with a stream of its own."""

    def __init__(self, options: IndependentLengths, stream: Stream) -> None:
        self._prompt: Quantile = build_token_quantile(options.prompt)
        self._output: Quantile = build_token_quantile(options.output)
        self._prompt_stream, self._output_stream = stream.child("prompt"), stream.child("output")
        self._correlation = options.correlation

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return prompt and output tokens of indices from ``first`` on."""
        of_prompt = self._prompt_stream.uniforms(first, count)
        of_output = self._output_stream.uniforms(first, count)
        if self._correlation:
            of_output = _tied(of_prompt, of_output, self._correlation)
        return to_tokens(self._prompt.values(of_prompt)), to_tokens(self._output.values(of_output))


def _tied(leading: Floats, free: Floats, correlation: float) -> Floats:
    """Return uniforms whose normal scores correlate with those of ``leading`` (a Gaussian copula)."""
    score = correlation * normal_quantile(leading) + math.sqrt(1.0 - correlation**2) * normal_quantile(free)
    cdf = 0.5 * np.asarray([math.erfc(value) for value in (-score / math.sqrt(2.0)).tolist()])
    return np.clip(cdf, 2.0**-54, 1.0 - 2.0**-53)
