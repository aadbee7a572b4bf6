"""Arrival processes of a workload: the axis and its registry.  Rates are requests per simulated second."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.sampling.random_streams import Ints, Stream

ArrivalTimes = Callable[[], Iterator[Ints]]
"""Starts a process over: non-empty blocks of arrival times in ns, never decreasing; endless unless the rate ends."""

ARRIVALS: Final = Registry[Callable[[Any, Stream, int | None], ArrivalTimes]](
    "arrival process", "cluster_sim.workload.arrivals.processes", "cluster_sim.arrivals"
)
"""Functions that build a process from its options, its stream of random numbers, and the number of requests."""


class ArrivalOptions(ConfigModel):
    """Parameters of an arrival process; ``kind`` tells them apart."""

    kind: str


if TYPE_CHECKING:
    Arrivals = ArrivalOptions
else:
    Arrivals = ARRIVALS.annotation()


def build_arrivals(options: Arrivals, stream: Stream, count: int | None = None) -> ArrivalTimes:
    """Return a configured arrival process; ``count`` is needed by a ramp over request indices."""
    return ARRIVALS.chosen_by(options).part(options, stream, count)
