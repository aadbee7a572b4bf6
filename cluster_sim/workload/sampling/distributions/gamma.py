"""Gamma distribution."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import GREATEST_SHAPE, GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, TruncatableOptions
from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile
from cluster_sim.workload.sampling.random_streams import Floats


class GammaDistribution(TruncatableOptions):
    """Gamma, by shape and scale."""

    example: ClassVar = {"shape": 2, "scale": 100}

    kind: Literal["gamma"]
    shape: float = Field(gt=0, le=GREATEST_SHAPE, description="Shape; the coefficient of variation is shape ** -0.5.")
    scale: float = Field(gt=0, le=GREATEST_VALUE, description="Scale; the mean is shape * scale.")


@DISTRIBUTIONS.register("gamma", GammaDistribution)
class Gamma:
    """Gamma quantile of any scale."""

    least = 0.0

    def __init__(self, options: GammaDistribution) -> None:
        self._unit, self._scale = GammaQuantile(options.shape), options.scale

    def values(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        return self._unit.values(probability) * self._scale

    def cdf(self, value: float) -> float:
        """Return the probability of a value of at most ``value``."""
        return self._unit.cdf(value / self._scale)
