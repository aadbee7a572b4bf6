"""Power-law distribution."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, BoundedOptions
from cluster_sim.workload.sampling.random_streams import Floats


class PowerLawDistribution(BoundedOptions):
    """Density proportional to x ** -alpha between min and max."""

    example: ClassVar = {"alpha": 1.5, "min": 8, "max": 4096}

    kind: Literal["power_law"]
    alpha: float = Field(ge=0, le=100, description="Exponent of the density; 0 is uniform.")
    min: float = Field(gt=0, le=GREATEST_VALUE, description="Least value.")
    max: float = Field(gt=0, le=GREATEST_VALUE, description="Greatest value.")


@DISTRIBUTIONS.register("power_law", PowerLawDistribution)
class PowerLaw:
    """Power-law quantile, computed in logarithms so that steep densities do not overflow."""

    def __init__(self, options: PowerLawDistribution) -> None:
        self.least = options.min
        self._log_ratio, self._exponent = math.log(options.max / options.min), 1.0 - options.alpha

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        span = self._exponent * self._log_ratio
        if abs(span) < 1e-9:
            return np.asarray(self.least * np.exp(probability * self._log_ratio), dtype=np.float64)
        if span > 600:
            log_x = self._log_ratio + np.log(probability) / self._exponent
        else:
            log_x = np.log1p(probability * math.expm1(span)) / self._exponent
        return np.asarray(self.least * np.exp(np.maximum(log_x, 0.0)), dtype=np.float64)
