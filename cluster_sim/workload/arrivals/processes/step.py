"""Arrivals whose rate changes in steps."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S, ConfigModel
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import StepRate, thinned_times
from cluster_sim.workload.sampling.random_streams import Stream


class StepChange(ConfigModel):
    """A change of the rate at an instant."""

    at_s: float = Field(ge=0, le=LONGEST_RUN_S, description="When, seconds from the start.")
    request_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second from then on.")


class StepArrivals(ArrivalOptions):
    """Poisson whose rate steps at given times."""

    example: ClassVar = {"request_rate": 5, "steps": [{"at_s": 60, "request_rate": 20}]}

    rates: ClassVar = ("request_rate", "steps")

    kind: Literal["step"]
    request_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second from the start.")
    steps: tuple[StepChange, ...] = Field(min_length=1, description="The changes, in order of time.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        times = [step.at_s for step in self.steps]
        if times != sorted(set(times)):
            raise ValueError("steps must have increasing at_s")
        if max(self.request_rate, *(step.request_rate for step in self.steps)) <= 0:
            raise ValueError("at least one request_rate must be positive")
        return self


@ARRIVALS.register("step", StepArrivals)
def build_step(options: StepArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals of a rate that steps."""
    starts_s = [0.0, *(step.at_s for step in options.steps)]
    rates = [options.request_rate, *(step.request_rate for step in options.steps)]
    return thinned_times(lambda: StepRate(starts_s, rates), stream)
