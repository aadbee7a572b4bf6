"""Truncated normal distribution."""

import math
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions
from cluster_sim.workload.sampling.normal_quantile import normal_cdf, normal_quantile
from cluster_sim.workload.sampling.random_streams import Floats


class TruncatedNormalDistribution(TruncatableOptions):
    """Normal conditioned on lying between min and max: really truncated, never clamped."""

    example: ClassVar = {"mu": 500, "sigma": 200}

    kind: Literal["truncated_normal"]
    mu: float = Field(ge=-GREATEST_VALUE, le=GREATEST_VALUE, description="Mean before truncation.")
    sigma: float = Field(gt=0, le=GREATEST_VALUE, description="Standard deviation before truncation.")
    min: float | None = Field(
        default=0.0, ge=-GREATEST_VALUE, le=GREATEST_VALUE, description="Lower end of the support."
    )


@DISTRIBUTIONS.register("truncated_normal", TruncatedNormalDistribution)
class Normal:
    """Normal quantile, before truncation."""

    least = -math.inf

    def __init__(self, options: TruncatedNormalDistribution) -> None:
        self._mu, self._sigma = options.mu, options.sigma

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        result: Floats = self._mu + self._sigma * normal_quantile(probability)
        return result

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        return normal_cdf((value - self._mu) / self._sigma)
