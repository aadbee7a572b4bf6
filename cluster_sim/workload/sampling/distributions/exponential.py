"""Exponential distribution."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions
from cluster_sim.workload.sampling.random_streams import Floats


class ExponentialDistribution(TruncatableOptions):
    """Exponential with a given mean (before truncation)."""

    example: ClassVar = {"mean": 200, "max": 4000}

    kind: Literal["exponential"]
    mean: float = Field(gt=0, le=GREATEST_VALUE, description="Mean.")


@DISTRIBUTIONS.register("exponential", ExponentialDistribution)
class Exponential:
    """Exponential quantile."""

    least = 0.0

    def __init__(self, options: ExponentialDistribution) -> None:
        self._mean = options.mean

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        result: Floats = -self._mean * np.log1p(-probability)
        return result

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        return -math.expm1(-value / self._mean) if value > 0 else 0.0
