"""Constant arrivals."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.renewal import times_within_run
from cluster_sim.workload.sampling.random_streams import BLOCK, Ints, Stream


class ConstantArrivals(ArrivalOptions):
    """One request every 1 / request_rate seconds, the first after one gap."""

    example: ClassVar = {"request_rate": 5}

    kind: Literal["constant"]
    request_rate: float = Field(
        gt=0, allow_inf_nan=True, description="Requests per second; .inf: all requests at once."
    )

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate is the same throughout: always."""
        return True


@ARRIVALS.register("constant", ConstantArrivals)
def build_constant(options: ConstantArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return evenly spaced times; each is rounded on its own, so no error adds up."""

    def times() -> Iterator[Ints]:
        first = 1
        while True:
            index = np.arange(first, first + BLOCK, dtype=np.float64)
            yield times_within_run(np.rint(index / options.request_rate * NS_PER_S))
            first += BLOCK

    return times
