"""Zipf distribution."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, BoundedOptions
from cluster_sim.workload.sampling.quantile import ValueTable


class ZipfDistribution(BoundedOptions):
    """Integers k from min to max with probability proportional to k ** -alpha."""

    example: ClassVar = {"alpha": 1.1, "max": 1000}

    kind: Literal["zipf"]
    alpha: float = Field(ge=0, le=100, description="Exponent; 0 is uniform.")
    min: int = Field(default=1, ge=1, le=10_000_000, description="Least integer.")
    max: int = Field(ge=1, le=10_000_000, description="Greatest integer.")


@DISTRIBUTIONS.register("zipf", ZipfDistribution)
def build_zipf(options: ZipfDistribution) -> ValueTable:
    """Return the table of the integers by weight."""
    values = np.arange(options.min, options.max + 1, dtype=np.float64)
    return ValueTable(values, values**-options.alpha)
