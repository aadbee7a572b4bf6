"""Mixture of distributions."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import GREATEST_WEIGHT, ConfigModel
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, Distribution, DistributionOptions, build_quantile
from cluster_sim.workload.sampling.quantile import QuantileMixture


class MixturePart(ConfigModel):
    """One component of a mixture."""

    weight: float = Field(gt=0, le=GREATEST_WEIGHT, description="Relative weight.")
    distribution: Distribution = Field(description="The component.")


class MixtureDistribution(DistributionOptions):
    """One of several distributions, chosen by weight for every draw."""

    example: ClassVar = {
        "parts": [
            {"weight": 3, "distribution": {"kind": "fixed", "value": 10}},
            {"weight": 1, "distribution": {"kind": "uniform", "min": 100, "max": 200}},
        ]
    }

    kind: Literal["mixture"]
    parts: tuple[MixturePart, ...] = Field(min_length=1, description="The components with their weights.")


@DISTRIBUTIONS.register("mixture", MixtureDistribution)
def build_mixture(options: MixtureDistribution) -> QuantileMixture:
    """Return the components laid side by side."""
    weights = [part.weight for part in options.parts]
    return QuantileMixture(weights, [build_quantile(part.distribution) for part in options.parts])
