"""Requests drawn from an arrival process and length distributions."""

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.kind_interface import (
    WORKLOAD_KINDS,
    ArrivingOptions,
    OpenLoopKind,
    OpenLoopOptions,
    WorkloadParts,
)
from cluster_sim.workload.lengths.length_sampler import Lengths, build_lengths
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.traces.clipping import Clip, clip_block
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import TraitSampler


class SyntheticWorkload(OpenLoopOptions, ArrivingOptions):
    """Requests drawn from an arrival process and length distributions."""

    example: ClassVar = {
        "arrivals": {"kind": "poisson", "request_rate": 5},
        "lengths": {"prompt": {"kind": "uniform", "min": 10, "max": 100}, "output": {"kind": "fixed", "value": 20}},
        "count": 100,
    }

    kind: Literal["synthetic"]
    lengths: Lengths = Field(description="Prompt and output tokens.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


@WORKLOAD_KINDS.register("synthetic", SyntheticWorkload)
class SyntheticKind(OpenLoopKind[SyntheticWorkload]):
    """Requests drawn from an arrival process and length distributions."""

    @property
    def total_requests(self) -> int | None:
        """The count of the options."""
        return self.options.count

    @property
    def is_stationary(self) -> bool:
        """Whether the arrivals have one rate."""
        return self.options.arrivals.has_constant_rate

    def mean_rate(self) -> float | None:
        """Return the rate of arrivals that have a single one."""
        rate = getattr(self.options.arrivals, "request_rate", None)
        return float(rate) if rate is not None else super().mean_rate()

    def at_rate(self, rate_per_s: float) -> SyntheticWorkload:
        """Return the options with arrivals of another rate."""
        arrivals = self.options.arrivals.model_copy(update={"request_rate": rate_per_s})
        return self.options.model_copy(update={"arrivals": arrivals})

    def columns(self, parts: WorkloadParts) -> "SyntheticColumns":
        """Return the drawn requests."""
        return SyntheticColumns(self.options, *parts.take())


class SyntheticColumns:
    """A ``ColumnSource`` of drawn requests; row n is drawn from streams at counter n, whatever the block size."""

    def __init__(self, options: SyntheticWorkload, part: int, stream: Stream) -> None:
        self._clip = options.clip
        self._times = options.arrival_times(stream)
        self._lengths = build_lengths(options.lengths, stream.child("lengths"))
        self._traits = TraitSampler(options.traits, part, stream.child("traits"))

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        for arrival_ns in self._times():
            prompt, output = self._lengths.draw(first, len(arrival_ns))
            block = self._traits.decorate(Columns(arrival_ns, prompt, output), first)
            first += len(arrival_ns)
            if self._clip is not None:
                block = clip_block(block, self._clip, Counter())
            if len(block):
                yield block
