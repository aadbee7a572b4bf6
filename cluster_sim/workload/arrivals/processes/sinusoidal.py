"""Arrivals whose rate follows a sine."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import thinned_times
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class SinusoidalArrivals(ArrivalOptions):
    """Poisson with rate request_rate * (1 + amplitude * sin(2 pi (t + phase_s) / period_s)): a day, a heart beat."""

    example: ClassVar = {"request_rate": 5, "amplitude": 0.6, "period_s": 3600}

    kind: Literal["sinusoidal"]
    request_rate: float = Field(gt=0, le=HIGHEST_RATE, description="Mean requests per second.")
    amplitude: float = Field(ge=0, le=1, description="Swing as a share of the mean.")
    period_s: float = Field(default=86_400.0, gt=0, le=LONGEST_RUN_S, description="Period, seconds.")
    phase_s: float = Field(
        default=0.0, ge=-LONGEST_RUN_S, le=LONGEST_RUN_S, description="How far into the period the run starts, seconds."
    )


@ARRIVALS.register("sinusoidal", SinusoidalArrivals)
def build_sinusoidal(options: SinusoidalArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals of a sinusoidal rate."""
    return thinned_times(lambda: SinusoidalRate(options), stream)


class SinusoidalRate:
    """A mean rate with a sine on top."""

    ends_s = math.inf

    def __init__(self, options: SinusoidalArrivals) -> None:
        self._options = options
        self.bound = options.request_rate * (1.0 + options.amplitude)

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times."""
        options = self._options
        angle = 2.0 * math.pi * (((times_s + options.phase_s) / options.period_s) % 1.0)
        result: Floats = options.request_rate * (1.0 + options.amplitude * np.sin(angle))
        return result
