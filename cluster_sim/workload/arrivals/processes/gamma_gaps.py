"""Gamma arrivals."""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import GREATEST_SHAPE, HIGHEST_RATE
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.renewal import UnitGap, gap_blocks, renewal_times
from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile
from cluster_sim.workload.sampling.random_streams import BLOCK, Floats, Stream


class GammaArrivals(ArrivalOptions):
    """Gamma gaps by burstiness, with the option names and meaning of ``vllm bench serve``."""

    example: ClassVar = {"request_rate": 5, "burstiness": 0.5}

    rates: ClassVar = ("request_rate", "ramp_up_start_rps", "ramp_up_end_rps")

    kind: Literal["gamma"]
    request_rate: float = Field(
        gt=0, allow_inf_nan=True, description="Requests per second; .inf: all requests at once."
    )
    burstiness: float = Field(
        default=1.0,
        gt=0,
        le=GREATEST_SHAPE,
        description="Shape of the gaps: 1 is Poisson, below 1 burstier, above 1 more even; CV = burstiness ** -0.5.",
    )
    ramp_up_strategy: Literal["linear", "exponential"] | None = Field(
        default=None,
        description="Change the rate from ramp_up_start_rps to ramp_up_end_rps over the requests, by their index.",
    )
    ramp_up_start_rps: float | None = Field(
        default=None, gt=0, le=HIGHEST_RATE, description="Rate at the first request of a ramp."
    )
    ramp_up_end_rps: float | None = Field(
        default=None, gt=0, le=HIGHEST_RATE, description="Rate at the last request of a ramp."
    )
    rescale: bool = Field(
        default=False,
        description="Scale the gaps so that the last request arrives at count / request_rate exactly, as vLLM does.",
    )

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate is the same throughout: without a ramp."""
        return self.ramp_up_strategy is None

    @model_validator(mode="after")
    def _check_ramp(self) -> Self:
        given = (self.ramp_up_strategy, self.ramp_up_start_rps, self.ramp_up_end_rps)
        if any(option is not None for option in given) and any(option is None for option in given):
            raise ValueError("ramp_up_strategy, ramp_up_start_rps and ramp_up_end_rps go together")
        if self.rescale and self.ramp_up_strategy is not None:
            raise ValueError("rescale does not go with a ramp")
        return self


@ARRIVALS.register("gamma", GammaArrivals)
def build_gamma(options: GammaArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return gamma gaps; a ramp goes by request index as in ``vllm bench serve``, so it needs the count."""
    table = GammaQuantile(options.burstiness)

    def unit_gap(uniforms: Floats) -> Floats:
        return np.asarray(table.values(uniforms) / options.burstiness, dtype=np.float64)

    start, end = options.ramp_up_start_rps, options.ramp_up_end_rps
    if options.ramp_up_strategy is None or start is None or end is None:
        scale = 1.0
        if options.rescale:
            if count is None:
                raise InputError("workload.arrivals: rescale needs workload.count, the number of requests")
            total_ns = _total_gap_ns(unit_gap, options.request_rate, stream.child("gaps"), count)
            scale = count / options.request_rate * NS_PER_S / total_ns
        return renewal_times(unit_gap, lambda _: scale / options.request_rate, stream)
    if count is None:
        raise InputError("workload.arrivals: a ramp by request index needs workload.count, the number of requests")
    last = max(count - 1, 1)
    is_linear = options.ramp_up_strategy == "linear"

    def mean_gap_s(index: Floats) -> Floats:
        share = np.minimum(index / last, 1.0)
        rate = start + (end - start) * share if is_linear else start * (end / start) ** share
        return np.asarray(1.0 / rate, dtype=np.float64)

    return renewal_times(unit_gap, mean_gap_s, stream)


def _total_gap_ns(unit_gap: UnitGap, rate: float, stream: Stream, count: int) -> float:
    """Return the sum of the first ``count`` gaps."""
    total = 0
    left = count
    for gaps in gap_blocks(unit_gap, lambda _: 1.0 / rate, stream):
        total += int(gaps[:left].sum())
        left -= BLOCK
        if left <= 0:
            break
    return float(max(total, 1))
