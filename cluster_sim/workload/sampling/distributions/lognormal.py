"""Lognormal distribution."""

import math
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions
from cluster_sim.workload.sampling.normal_quantile import normal_cdf, normal_quantile
from cluster_sim.workload.sampling.random_streams import Floats


class LogNormalDistribution(TruncatableOptions):
    """Lognormal, by the logarithm's parameters (mu, sigma) or by its own mean and standard deviation."""

    example: ClassVar = {"mean": 1155, "std": 1109, "max": 7000}

    kind: Literal["lognormal"]
    mu: float | None = Field(
        default=None, ge=-100, le=100, description="Mean of the natural logarithm; goes with sigma."
    )
    sigma: float | None = Field(
        default=None, ge=0, le=100, description="Standard deviation of the logarithm; goes with mu."
    )
    mean: float | None = Field(
        default=None, gt=0, le=GREATEST_VALUE, description="Mean of the value itself; goes with std."
    )
    std: float | None = Field(
        default=None, ge=0, le=GREATEST_VALUE, description="Standard deviation of the value itself; goes with mean."
    )

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        by_log = self.mu is not None and self.sigma is not None and self.mean is None and self.std is None
        by_value = self.mean is not None and self.std is not None and self.mu is None and self.sigma is None
        if not (by_log or by_value):
            raise ValueError("lognormal takes either mu and sigma, or mean and std")
        return self

    def of_logarithm(self) -> tuple[float, float]:
        """Return (mu, sigma), whichever way they are given."""
        if self.mu is not None and self.sigma is not None:
            return self.mu, self.sigma
        assert self.mean is not None
        assert self.std is not None
        variance = math.log1p((self.std / self.mean) ** 2)
        return math.log(self.mean) - variance / 2.0, math.sqrt(variance)


@DISTRIBUTIONS.register("lognormal", LogNormalDistribution)
class LogNormal:
    """Lognormal quantile."""

    least = 0.0

    def __init__(self, options: LogNormalDistribution) -> None:
        self._mu, self._sigma = options.of_logarithm()

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        result: Floats = np.exp(np.minimum(self._mu + self._sigma * normal_quantile(probability), 700.0))
        return result

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        if value <= 0:
            return 0.0
        distance = math.log(value) - self._mu
        if self._sigma == 0:
            return 1.0 if distance >= 0 else 0.0
        return normal_cdf(distance / self._sigma)
