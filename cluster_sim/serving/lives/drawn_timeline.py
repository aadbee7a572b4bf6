"""Drawn timelines: faults from the mean time between failures (MTBF) and the mean time to repair (MTTR) of each kind.

A fault's times are draws by key: (seed of the faults, what fails, name of the fault, number of the draw).  So neither
the load nor the placement changes them, a replica that joins has its own, and a router and a replica that know the key
come to the same timeline, as far as either of them asks: a run of any length needs no list made beforehand.

The time to the next failure counts from the birth, then from the end of the last repair.  A shared cause, such as a
node with several replicas, is drawn once for all of them: its ``subject`` is its own name, and it counts from 0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval
from cluster_sim.serving.lives.timeline import NO_FAULTS, Timeline

FaultKind = Literal["crash", "slowdown", "hang", "outage"]
LAST_NS: Final = (1 << 56) - 1
"""No fault begins after this: an instant holds no later time."""
_MANTISSA_BITS: Final = 53


@dataclass(frozen=True, slots=True)
class DrawnFault:
    """One cause of faults, of one kind."""

    name: str
    """What keys the draws; two causes of one subject need two names."""
    kind: FaultKind
    mtbf_ns: int
    """Mean time from the end of a fault to the beginning of the next."""
    mttr_ns: int
    """Mean time from the beginning of a fault to its end."""
    factor: float = 1.0
    """Of a slow-down."""
    is_exponential: bool = True
    """Whether both times are exponentially distributed; otherwise they are always the means."""
    subject: str = ""
    """What fails, if that is not the replica alone."""

    def __post_init__(self) -> None:
        assert self.mtbf_ns >= 1 <= self.mttr_ns, f"{self} has times below 1 ns"
        assert self.factor >= 1, f"{self} is no slow-down"


@dataclass(frozen=True, slots=True)
class DrawnIntervals:
    """The faults of one cause: an endless sequence, cut where no fault may begin any more."""

    fault: DrawnFault
    key: int
    birth_ns: int
    last_ns: int

    def __iter__(self) -> Iterator[Interval]:
        fault, now_ns, number = self.fault, self.birth_ns, 0
        while True:
            start_ns = now_ns + self._draw_ns(fault.mtbf_ns, number)
            if start_ns > self.last_ns:
                return
            now_ns = min(start_ns + self._draw_ns(fault.mttr_ns, number + 1), FOREVER_NS)
            yield Interval(start_ns, now_ns, fault.factor)
            number += 2

    def _draw_ns(self, mean_ns: int, number: int) -> int:
        """Return draw ``number`` with a given mean, at least 1 ns."""
        if not self.fault.is_exponential:
            return mean_ns
        uniform = (draw_u64(self.key, number) >> 64 - _MANTISSA_BITS) / (1 << _MANTISSA_BITS)
        return max(1, round(-mean_ns * math.log(1.0 - uniform)))


class DrawnTimeline(Timeline):
    """Faults that are drawn, beside those that are scripted in absolute times."""

    __slots__ = ("_faults", "_key", "_scripted")

    def __init__(
        self,
        seed: int,
        replica: int,
        faults: tuple[DrawnFault, ...],
        scripted: Timeline | None = None,
        birth_ns: int = 0,
        last_ns: int = LAST_NS,
    ) -> None:
        """``replica`` is its number and ``seed`` that of the faults; none of them begins after ``last_ns``."""
        self._key = (seed, replica, last_ns)
        self._faults = faults
        self._scripted = scripted
        drawn: dict[FaultKind, list[DrawnIntervals]] = {"crash": [], "slowdown": [], "hang": [], "outage": []}
        for fault in faults:
            key = stream_key(seed, fault.subject or f"replica {replica}", f"fault {fault.name}")
            drawn[fault.kind].append(DrawnIntervals(fault, key, 0 if fault.subject else birth_ns, last_ns))
        scripted = scripted or NO_FAULTS
        self._combine(
            (scripted.crashes.source, *drawn["crash"]),
            (scripted.slowdowns.source, *drawn["slowdown"]),
            (scripted.hangs.source, *drawn["hang"]),
            (scripted.outages.source, *drawn["outage"]),
        )

    def born_at(self, birth_ns: int) -> "DrawnTimeline":
        """Return the timeline of a replica that joins at ``birth_ns``."""
        seed, replica, last_ns = self._key
        return DrawnTimeline(seed, replica, self._faults, self._scripted, birth_ns, last_ns)
