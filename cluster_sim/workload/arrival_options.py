"""Arrival processes of an open-loop workload.  Rates are requests per simulated second."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import ConfigModel, InputFile


class ArrivalsBase(ConfigModel):
    """What every arrival process shares."""


class ConstantArrivals(ArrivalsBase):
    """One request every 1 / request_rate seconds, the first after one gap."""

    kind: Literal["constant"]
    request_rate: float = Field(gt=0, description="Requests per second.")


class PoissonArrivals(ArrivalsBase):
    """Independent exponential gaps."""

    kind: Literal["poisson"]
    request_rate: float = Field(gt=0, description="Requests per second.")


class GammaArrivals(ArrivalsBase):
    """Gamma gaps by burstiness, with the option names and meaning of ``vllm bench serve``."""

    kind: Literal["gamma"]
    request_rate: float = Field(gt=0, description="Requests per second.")
    burstiness: float = Field(
        default=1.0,
        gt=0,
        description="Shape of the gaps: 1 is Poisson, below 1 burstier, above 1 more even; CV = burstiness ** -0.5.",
    )
    ramp_up_strategy: Literal["linear", "exponential"] | None = Field(
        default=None,
        description="Change the rate from ramp_up_start_rps to ramp_up_end_rps over the requests, by their index.",
    )
    ramp_up_start_rps: float | None = Field(default=None, gt=0, description="Rate at the first request of a ramp.")
    ramp_up_end_rps: float | None = Field(default=None, gt=0, description="Rate at the last request of a ramp.")
    rescale: bool = Field(
        default=False,
        description="Scale the gaps so that the last request arrives at count / request_rate exactly, as vLLM does.",
    )

    @model_validator(mode="after")
    def _ramp_is_whole(self) -> Self:
        given = (self.ramp_up_strategy, self.ramp_up_start_rps, self.ramp_up_end_rps)
        if any(part is not None for part in given) and any(part is None for part in given):
            raise ValueError("ramp_up_strategy, ramp_up_start_rps and ramp_up_end_rps go together")
        if self.rescale and self.ramp_up_strategy is not None:
            raise ValueError("rescale does not go with a ramp")
        return self


class WeibullArrivals(ArrivalsBase):
    """Weibull gaps with mean 1 / request_rate."""

    kind: Literal["weibull"]
    request_rate: float = Field(gt=0, description="Requests per second.")
    shape: float = Field(gt=0, description="Shape of the gaps: 1 is Poisson, below 1 burstier.")


class MmppState(ArrivalsBase):
    """One state of a Markov-modulated Poisson process."""

    request_rate: float = Field(ge=0, description="Requests per second while in this state.")
    mean_stay_s: float = Field(gt=0, description="Mean of the exponential stay, seconds.")


class MmppArrivals(ArrivalsBase):
    """Markov-modulated Poisson: states visited in turn (or at random), Poisson arrivals within each."""

    kind: Literal["mmpp"]
    states: tuple[MmppState, ...] = Field(min_length=2, description="The states, in order; the first is the start.")
    next_state: Literal["cyclic", "random"] = Field(
        default="cyclic", description="After a stay: the next state of the list, or any other with equal probability."
    )

    @model_validator(mode="after")
    def _some_rate(self) -> Self:
        if max(state.request_rate for state in self.states) <= 0:
            raise ValueError("at least one state needs a positive request_rate")
        return self


class StepChange(ArrivalsBase):
    """A change of the rate at an instant."""

    at_s: float = Field(ge=0, description="When, seconds from the start.")
    request_rate: float = Field(ge=0, description="Requests per second from then on.")


class StepArrivals(ArrivalsBase):
    """Poisson whose rate steps at given times."""

    kind: Literal["step"]
    request_rate: float = Field(ge=0, description="Requests per second from the start.")
    steps: tuple[StepChange, ...] = Field(min_length=1, description="The changes, in order of time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [step.at_s for step in self.steps]
        if times != sorted(set(times)):
            raise ValueError("steps must have increasing at_s")
        if max(self.request_rate, *(step.request_rate for step in self.steps)) <= 0:
            raise ValueError("at least one request_rate must be positive")
        return self


class SinusoidalArrivals(ArrivalsBase):
    """Poisson with rate request_rate * (1 + amplitude * sin(2 pi (t + phase_s) / period_s)): a day, a heart beat."""

    kind: Literal["sinusoidal"]
    request_rate: float = Field(gt=0, description="Mean requests per second.")
    amplitude: float = Field(ge=0, le=1, description="Swing as a share of the mean.")
    period_s: float = Field(default=86_400.0, gt=0, description="Period, seconds.")
    phase_s: float = Field(default=0.0, description="How far into the period the run starts, seconds.")


class RampArrivals(ArrivalsBase):
    """Poisson whose rate goes linearly from one value to another and stays there."""

    kind: Literal["ramp"]
    start_rate: float = Field(ge=0, description="Requests per second at the start.")
    end_rate: float = Field(ge=0, description="Requests per second after the ramp.")
    ramp_s: float = Field(gt=0, description="Length of the ramp, seconds.")

    @model_validator(mode="after")
    def _some_rate(self) -> Self:
        if max(self.start_rate, self.end_rate) <= 0:
            raise ValueError("start_rate or end_rate must be positive")
        return self


class SpikeArrivals(ArrivalsBase):
    """Poisson with a base rate and one spike (or one every period)."""

    kind: Literal["spike"]
    request_rate: float = Field(ge=0, description="Requests per second outside the spike.")
    spike_rate: float = Field(gt=0, description="Requests per second inside the spike.")
    at_s: float = Field(ge=0, description="Start of the first spike, seconds.")
    spike_s: float = Field(gt=0, description="Length of a spike, seconds.")
    every_s: float | None = Field(default=None, gt=0, description="Period of repetition, seconds; absent: one spike.")

    @model_validator(mode="after")
    def _fits_period(self) -> Self:
        if self.every_s is not None and self.every_s < self.spike_s:
            raise ValueError("every_s must be at least spike_s")
        return self


class PiecewiseArrivals(ArrivalsBase):
    """Poisson with a rate read from a CSV file of columns start_s, request_rate (each row holds until the next)."""

    kind: Literal["piecewise"]
    path: InputFile = Field(description="CSV file with columns start_s and request_rate, times increasing from 0.")
    scale: float = Field(default=1.0, gt=0, description="Factor on every rate.")
    repeat_s: float | None = Field(default=None, gt=0, description="Start over after this many seconds.")


Arrivals = Annotated[
    ConstantArrivals
    | PoissonArrivals
    | GammaArrivals
    | WeibullArrivals
    | MmppArrivals
    | StepArrivals
    | SinusoidalArrivals
    | RampArrivals
    | SpikeArrivals
    | PiecewiseArrivals,
    Field(discriminator="kind"),
]
"""Any arrival process, told apart by ``kind``."""
