"""Arrivals whose rate ramps up or down."""

import math
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import thinned_times
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class RampArrivals(ArrivalOptions):
    """Poisson whose rate goes linearly from one value to another and stays there."""

    example: ClassVar = {"start_rate": 1, "end_rate": 20, "ramp_s": 600}

    rates: ClassVar = ("start_rate", "end_rate")

    kind: Literal["ramp"]
    start_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second at the start.")
    end_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second after the ramp.")
    ramp_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Length of the ramp, seconds.")

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if max(self.start_rate, self.end_rate) <= 0:
            raise ValueError("start_rate or end_rate must be positive")
        return self


@ARRIVALS.register("ramp", RampArrivals)
def build_ramp(options: RampArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals of a ramped rate."""
    return thinned_times(lambda: RampRate(options), stream)


class RampRate:
    """From one rate linearly to another, constant afterwards."""

    def __init__(self, options: RampArrivals) -> None:
        self._options = options
        self.bound = max(options.start_rate, options.end_rate)
        self.ends_s = options.ramp_s if options.end_rate == 0 else math.inf

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times."""
        options = self._options
        share = np.minimum(times_s / options.ramp_s, 1.0)
        result: Floats = options.start_rate + (options.end_rate - options.start_rate) * share
        return result
