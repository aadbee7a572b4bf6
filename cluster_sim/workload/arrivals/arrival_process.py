"""Arrival processes of a workload: the axis and its registry.  Rates are requests per simulated second."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

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

    rates: ClassVar[tuple[str, ...]] = ("request_rate",)
    """Options that are rates, or lists of items with a ``request_rate``."""

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate is the same from the first request to the last; bursts and changes are to be judged."""
        return False

    def scaled(self, factor: float) -> Self:
        """Return the options with every rate so many times as high; raises ValueError if there is none, or no end."""
        given = {name: value for name in self.rates if (value := getattr(self, name, None)) is not None}
        changed = {name: _scaled(value, factor) for name, value in given.items()}
        if not changed or math.inf in changed.values():
            raise ValueError(f"arrivals of kind {self.kind} with {'all at once' if changed else 'no rate'}")
        return self.model_copy(update=changed)


def _scaled(value: Any, factor: float) -> Any:
    if not isinstance(value, tuple):
        return value * factor
    return tuple(item.model_copy(update={"request_rate": item.request_rate * factor}) for item in value)


if TYPE_CHECKING:
    Arrivals = ArrivalOptions
else:
    Arrivals = ARRIVALS.annotation()


def build_arrivals(options: Arrivals, stream: Stream, count: int | None = None) -> ArrivalTimes:
    """Return a configured arrival process; ``count`` is needed by a ramp over request indices."""
    return ARRIVALS.chosen_by(options).part(options, stream, count)
