"""Pareto distribution."""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import GREATEST_SHAPE, GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, DistributionOptions
from cluster_sim.workload.sampling.quantile import Quantile, Truncated
from cluster_sim.workload.sampling.random_streams import Floats


class ParetoDistribution(DistributionOptions):
    """Pareto: P(X > x) = (scale / x) ** alpha from scale on, optionally truncated at max."""

    example: ClassVar = {"alpha": 1.5, "scale": 20, "max": 8000}

    kind: Literal["pareto"]
    alpha: float = Field(gt=0, le=GREATEST_SHAPE, description="Tail index.")
    scale: float = Field(gt=0, le=GREATEST_VALUE, description="Least value.")
    max: float | None = Field(default=None, gt=0, le=GREATEST_VALUE, description="Upper end of the support.")

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        if self.max is not None and self.scale > self.max:
            raise ValueError(f"scale {self.scale} is greater than max {self.max}")
        return self


class Pareto:
    """Pareto quantile."""

    def __init__(self, options: ParetoDistribution) -> None:
        self.least = options.scale
        self._alpha = options.alpha

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        return np.asarray(
            self.least * np.exp(np.minimum(-np.log1p(-probability) / self._alpha, 600.0)), dtype=np.float64
        )

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        return 1.0 - (self.least / value) ** self._alpha if value > self.least else 0.0


@DISTRIBUTIONS.register("pareto", ParetoDistribution)
def build_pareto(options: ParetoDistribution) -> Quantile:
    """Return the Pareto quantile, truncated if it has an upper end."""
    return Pareto(options) if options.max is None else Truncated(Pareto(options), None, options.max)
