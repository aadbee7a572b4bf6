"""Timelines of faults: what will befall a replica, known to it and to the router before it happens.

The router holds the truth apart from what its policies know of it: from the timeline follow the instants at which
connections are reset, deliveries refused and health checks answered, so no message has to tell them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final, NamedTuple

from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval, Intervals, apart, slowest, united

_Sources = tuple[Iterable[Interval], ...]


class Crash(NamedTuple):
    """The process dies at ``crash_ns`` with all that it holds, and takes requests again from ``restart_ns`` on."""

    crash_ns: int
    restart_ns: int


@dataclass(frozen=True, slots=True)
class _Combined:
    """Intervals of several sorted sources, made disjoint."""

    sources: _Sources
    combine: Callable[[Iterable[Interval]], Iterator[Interval]]

    def __iter__(self) -> Iterator[Interval]:
        return self.combine(merge(*self.sources))


class Timeline:
    """The faults of one replica, in absolute times.

    ``crashes``: (crash, restart), ``slowdowns``: (from, until, factor >= 1), ``hangs`` and ``outages`` (of the link to
    the router): (from, until), all in ns, each kind in rising order of its beginnings, of which none is negative.
    A crash while the replica is dead is void, also at the instant of the restart.  Slow-downs may overlap: the largest
    factor counts.  Hangs may, and outages: they are united.  A crash ends none of them.
    """

    __slots__ = ("crashes", "hangs", "outages", "slowdowns")

    def __init__(
        self,
        crashes: Iterable[tuple[int, int]] = (),
        slowdowns: Iterable[tuple[int, int, float]] = (),
        hangs: Iterable[tuple[int, int]] = (),
        outages: Iterable[tuple[int, int]] = (),
    ) -> None:
        self._combine((_sorted(crashes),), (_sorted(slowdowns),), (_sorted(hangs),), (_sorted(outages),))

    def _combine(self, crashes: _Sources, slowdowns: _Sources, hangs: _Sources, outages: _Sources) -> None:
        """Take the faults of each kind from several sources, each sorted and perhaps without end."""
        self.crashes = Intervals(_Combined(crashes, apart))
        self.slowdowns = Intervals(_Combined(slowdowns, slowest))
        self.hangs = Intervals(_Combined(hangs, united))
        self.outages = Intervals(_Combined(outages, united))

    def born_at(self, birth_ns: int) -> "Timeline":
        """Return the timeline of a replica that joins at ``birth_ns``: what is drawn counts from there."""
        return self

    def __bool__(self) -> bool:
        """Return whether anything ever happens."""
        return any((self.crashes, self.slowdowns, self.hangs, self.outages))

    def crash_from(self, time_ns: int) -> Crash | None:
        """Return the first crash at or after ``time_ns``."""
        interval = self.crashes.starting_from(time_ns)
        return None if interval is None else Crash(interval.start_ns, interval.end_ns)

    def death_at(self, time_ns: int) -> Crash | None:
        """Return the crash after which the replica is dead at ``time_ns``, the crash's own time included, the
        restart's not.
        """
        interval = self.crashes.holding(time_ns)
        return None if interval is None else Crash(interval.start_ns, interval.end_ns)

    def is_hung(self, time_ns: int) -> bool:
        """Whether nothing of what runs at ``time_ns`` goes on."""
        return self.hangs.holding(time_ns) is not None

    def passes_ns(self, time_ns: int) -> int:
        """Return when what is sent at ``time_ns``, in either direction, sets out: at once, or after an outage."""
        outage = self.outages.holding(time_ns)
        return time_ns if outage is None else outage.end_ns


def _sorted(intervals: Iterable[tuple[int, int] | tuple[int, int, float]]) -> list[Interval]:
    """Return intervals in the order of their beginnings; every one must last, and have a factor of at least 1."""
    found = sorted(Interval(*interval) for interval in intervals)
    for interval in found:
        assert 0 <= interval.start_ns < interval.end_ns <= FOREVER_NS, f"{interval} does not last"
        assert interval.factor >= 1, f"{interval} is no slow-down"
    return found


NO_FAULTS: Final = Timeline()
"""The timeline of a replica to which nothing happens."""
