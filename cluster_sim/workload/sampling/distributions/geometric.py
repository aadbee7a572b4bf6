"""Geometric distribution."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, DistributionOptions
from cluster_sim.workload.sampling.random_streams import Floats


class GeometricDistribution(DistributionOptions):
    """A count from 1 on: after each one, another follows with a fixed probability, up to max."""

    example: ClassVar = {"continue_probability": 0.7, "max": 20}

    kind: Literal["geometric"]
    continue_probability: float = Field(ge=0, lt=1, description="Probability that one more follows.")
    max: int | None = Field(
        default=None, ge=1, le=10**12, description="Greatest count; what lies beyond is counted as max."
    )


@DISTRIBUTIONS.register("geometric", GeometricDistribution)
class Geometric:
    """Geometric quantile; it piles up at the greatest count."""

    least = 1.0

    def __init__(self, options: GeometricDistribution) -> None:
        self._log_p = math.log(options.continue_probability) if options.continue_probability > 0 else -math.inf
        self._most = float(options.max) if options.max is not None else math.inf

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        more = np.floor(np.log1p(-probability) / self._log_p) if self._log_p > -math.inf else 0.0 * probability
        return np.asarray(np.minimum(1.0 + more, self._most), dtype=np.float64)
