"""Weibull arrivals."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import GREATEST_SHAPE, HIGHEST_RATE
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.renewal import renewal_times
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class WeibullArrivals(ArrivalOptions):
    """Weibull gaps with mean 1 / request_rate."""

    example: ClassVar = {"request_rate": 5, "shape": 0.7}

    kind: Literal["weibull"]
    request_rate: float = Field(gt=0, le=HIGHEST_RATE, description="Requests per second.")
    shape: float = Field(gt=0, le=GREATEST_SHAPE, description="Shape of the gaps: 1 is Poisson, below 1 burstier.")

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate is the same throughout: always."""
        return True


@ARRIVALS.register("weibull", WeibullArrivals)
def build_weibull(options: WeibullArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Weibull gaps."""
    mean = math.gamma(1.0 + 1.0 / options.shape)

    def unit_gap(uniforms: Floats) -> Floats:
        result: Floats = (-np.log1p(-uniforms)) ** (1.0 / options.shape) / mean
        return result

    return renewal_times(unit_gap, lambda _: 1.0 / options.request_rate, stream)
