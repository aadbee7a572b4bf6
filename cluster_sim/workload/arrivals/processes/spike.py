"""Arrivals with one spike, or one every period."""

import math
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import thinned_times
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class SpikeArrivals(ArrivalOptions):
    """Poisson with a base rate and one spike (or one every period)."""

    example: ClassVar = {"request_rate": 5, "spike_rate": 50, "at_s": 60, "spike_s": 10}

    rates: ClassVar = ("request_rate", "spike_rate")

    kind: Literal["spike"]
    request_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second outside the spike.")
    spike_rate: float = Field(gt=0, le=HIGHEST_RATE, description="Requests per second inside the spike.")
    at_s: float = Field(ge=0, le=LONGEST_RUN_S, description="Start of the first spike, seconds.")
    spike_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Length of a spike, seconds.")
    every_s: float | None = Field(
        default=None, gt=0, le=LONGEST_RUN_S, description="Period of repetition, seconds; absent: one spike."
    )

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.every_s is not None and self.every_s < self.spike_s:
            raise ValueError("every_s must be at least spike_s")
        return self


@ARRIVALS.register("spike", SpikeArrivals)
def build_spike(options: SpikeArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals of a rate with spikes."""
    return thinned_times(lambda: SpikeRate(options), stream)


class SpikeRate:
    """A base rate and one spike, or one every period."""

    def __init__(self, options: SpikeArrivals) -> None:
        self._options = options
        self.bound = max(options.request_rate, options.spike_rate)
        ends = options.request_rate == 0 and options.every_s is None
        self.ends_s = options.at_s + options.spike_s if ends else math.inf

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times."""
        options = self._options
        since = times_s - options.at_s
        if options.every_s is not None:
            since = np.where(since >= 0, since % options.every_s, since)
        is_inside = (since >= 0) & (since < options.spike_s)
        result: Floats = np.where(is_inside, options.spike_rate, options.request_rate)
        return result
