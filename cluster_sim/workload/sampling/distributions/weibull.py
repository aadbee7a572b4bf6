"""Weibull distribution."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import GREATEST_SHAPE, GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions
from cluster_sim.workload.sampling.random_streams import Floats


class WeibullDistribution(TruncatableOptions):
    """Weibull, by shape and scale."""

    example: ClassVar = {"shape": 0.8, "scale": 300}

    kind: Literal["weibull"]
    shape: float = Field(gt=0, le=GREATEST_SHAPE, description="Shape; below 1 has a heavier tail than the exponential.")
    scale: float = Field(gt=0, le=GREATEST_VALUE, description="Scale: the 63.2 % quantile.")


@DISTRIBUTIONS.register("weibull", WeibullDistribution)
class Weibull:
    """Weibull quantile."""

    least = 0.0

    def __init__(self, options: WeibullDistribution) -> None:
        self._shape, self._scale = options.shape, options.scale

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        result: Floats = self._scale * (-np.log1p(-probability)) ** (1.0 / self._shape)
        return result

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        return -math.expm1(-((value / self._scale) ** self._shape)) if value > 0 else 0.0
