"""Poisson arrivals."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.renewal import exponential_gap, renewal_times
from cluster_sim.workload.sampling.random_streams import Stream


class PoissonArrivals(ArrivalOptions):
    """Independent exponential gaps."""

    example: ClassVar = {"request_rate": 5}

    kind: Literal["poisson"]
    request_rate: float = Field(
        gt=0, allow_inf_nan=True, description="Requests per second; .inf: all requests at once."
    )

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate is the same throughout: always."""
        return True


@ARRIVALS.register("poisson", PoissonArrivals)
def build_poisson(options: PoissonArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return a Poisson process."""
    return renewal_times(exponential_gap, lambda _: 1.0 / options.request_rate, stream)
