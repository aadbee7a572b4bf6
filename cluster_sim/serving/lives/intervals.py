"""Intervals of simulated time in rising order, produced as far as somebody asks for them."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import ClassVar, Final, NamedTuple

FOREVER_NS: Final = 1 << 62
"""Later than every time of a run."""


class Interval(NamedTuple):
    """Simulated time from ``start_ns`` up to and without ``end_ns``."""

    start_ns: int
    end_ns: int
    factor: float = 1.0
    """How much longer steps take that start in it."""


class Intervals:
    """Disjoint intervals in rising order.

    ``source`` may have no end: it is read only as far as the questions reach, and once more from its beginning after a
    snapshot, so whoever iterates over it must get the same every time.
    """

    __slots__ = ("_ends_ns", "_known", "_rest", "source")
    SNAPSHOT_WITHOUT: ClassVar = ("_ends_ns", "_known", "_rest")

    def __init__(self, source: Iterable[Interval] = ()) -> None:
        self.source = source
        self._begin()

    def _begin(self) -> None:
        self._known: list[Interval] = []
        self._ends_ns: list[int] = []
        self._rest: Iterator[Interval] | None = iter(self.source)

    def after_restore(self) -> None:
        """Begin again with what is produced when somebody asks."""
        self._begin()

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return self.ending_after(-1) is not None

    def ending_after(self, time_ns: int) -> Interval | None:
        """Return the first interval that ends after ``time_ns``; it may hold it."""
        ends_ns = self._ends_ns
        while self._rest is not None and (not ends_ns or ends_ns[-1] <= time_ns):
            interval = next(self._rest, None)
            if interval is None:
                self._rest = None
            else:
                self._known.append(interval)
                ends_ns.append(interval.end_ns)
        index = bisect_right(ends_ns, time_ns)
        return self._known[index] if index < len(ends_ns) else None

    def starting_from(self, time_ns: int) -> Interval | None:
        """Return the first interval that starts at or after ``time_ns``."""
        interval = self.ending_after(time_ns)
        if interval is not None and interval.start_ns < time_ns:
            interval = self.ending_after(interval.end_ns)
        return interval

    def holding(self, time_ns: int) -> Interval | None:
        """Return the interval that holds ``time_ns``."""
        interval = self.ending_after(time_ns)
        return interval if interval is not None and interval.start_ns <= time_ns else None


def apart(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yield those of sorted intervals that begin after the last one yielded has ended: what is dead does not crash."""
    end_ns = -1
    for interval in intervals:
        if interval.start_ns > end_ns:
            end_ns = interval.end_ns
            yield interval


def united(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yield sorted intervals, those that overlap or touch as one."""
    held: Interval | None = None
    for interval in intervals:
        if held is None:
            held = interval
        elif interval.start_ns <= held.end_ns:
            held = held._replace(end_ns=max(held.end_ns, interval.end_ns))
        else:
            yield held
            held = interval
    if held is not None:
        yield held


def slowest(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yield sorted intervals cut into disjoint pieces, each with the largest factor of those that hold it."""
    active: list[Interval] = []
    position_ns = 0
    for following in chain(intervals, (Interval(FOREVER_NS, FOREVER_NS),)):
        while active and position_ns < following.start_ns:
            end_ns = min(following.start_ns, *(interval.end_ns for interval in active))
            yield Interval(position_ns, end_ns, max(interval.factor for interval in active))
            position_ns = end_ns
            active = [interval for interval in active if interval.end_ns > end_ns]
        position_ns = following.start_ns
        active.append(following)
