"""Zipf distribution."""

from typing import Literal

import numpy as np
from pydantic import Field

from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, BoundedOptions
from cluster_sim.workload.sampling.quantile import ValueTable


class ZipfDistribution(BoundedOptions):
    """Integers k from min to max with probability proportional to k ** -alpha."""

    kind: Literal["zipf"]
    alpha: float = Field(ge=0, description="Exponent; 0 is uniform.")
    min: int = Field(default=1, ge=1, description="Least integer.")
    max: int = Field(ge=1, le=10_000_000, description="Greatest integer.")


@DISTRIBUTIONS.register("zipf", ZipfDistribution)
def build_zipf(options: ZipfDistribution) -> ValueTable:
    """Return the table of the integers by weight."""
    values = np.arange(options.min, options.max + 1, dtype=np.float64)
    return ValueTable(values, values**-options.alpha)
