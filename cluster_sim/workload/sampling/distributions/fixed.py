"""Fixed value."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import GREATEST_VALUE
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, DistributionOptions
from cluster_sim.workload.sampling.random_streams import Floats


class FixedDistribution(DistributionOptions):
    """Always the same value."""

    example: ClassVar = {"value": 128}

    kind: Literal["fixed"] = "fixed"
    value: float = Field(ge=0, le=GREATEST_VALUE, description="The value.")


@DISTRIBUTIONS.register("fixed", FixedDistribution)
class Fixed:
    """One value for every probability."""

    def __init__(self, options: FixedDistribution) -> None:
        self.least = options.value

    def values(self, probability: Floats) -> Floats:
        """Return the value once for each probability."""
        return np.full_like(probability, self.least)
