"""Bimodal distribution."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, DistributionOptions
from cluster_sim.workload.sampling.quantile import Quantile, QuantileMixture, UniformQuantile


class BimodalDistribution(DistributionOptions):
    """Short with a probability, long otherwise; uniform within each mode."""

    example: ClassVar = {"short_min": 10, "short_max": 50, "long_min": 900, "long_max": 1000, "short_prob": 0.8}

    kind: Literal["bimodal"]
    short_min: float = Field(ge=0, le=GREATEST_VALUE, description="Least short value.")
    short_max: float = Field(ge=0, le=GREATEST_VALUE, description="Greatest short value.")
    long_min: float = Field(ge=0, le=GREATEST_VALUE, description="Least long value.")
    long_max: float = Field(ge=0, le=GREATEST_VALUE, description="Greatest long value.")
    short_prob: float = Field(ge=0, le=1, description="Probability of the short mode.")

    @model_validator(mode="after")
    def _check_modes(self) -> Self:
        if not self.short_min <= self.short_max <= self.long_min <= self.long_max:
            raise ValueError("bimodal needs short_min <= short_max <= long_min <= long_max")
        return self


@DISTRIBUTIONS.register("bimodal", BimodalDistribution)
def build_bimodal(options: BimodalDistribution) -> Quantile:
    """Return the mixture of both modes, or the only one that has probability."""
    short = UniformQuantile(options.short_min, options.short_max)
    long = UniformQuantile(options.long_min, options.long_max)
    if options.short_prob in {0.0, 1.0}:
        return short if options.short_prob else long
    return QuantileMixture([options.short_prob, 1.0 - options.short_prob], [short, long])
