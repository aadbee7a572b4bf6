"""Uniform distribution."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, BoundedOptions
from cluster_sim.workload.sampling.quantile import UniformQuantile


class UniformDistribution(BoundedOptions):
    """Every value between two ends is equally likely."""

    example: ClassVar = {"min": 10, "max": 100}

    kind: Literal["uniform"]
    min: float = Field(ge=0, le=GREATEST_VALUE, description="Least value.")
    max: float = Field(ge=0, le=GREATEST_VALUE, description="Greatest value, included after rounding to tokens.")


@DISTRIBUTIONS.register("uniform", UniformDistribution)
def build_uniform(options: UniformDistribution) -> UniformQuantile:
    """Return the uniform quantile."""
    return UniformQuantile(options.min, options.max)
