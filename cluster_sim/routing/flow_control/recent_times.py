"""Recent means of what a shedder estimates from, in whole nanoseconds."""

from typing import Final

_WEIGHT: Final = 16
"""A new value counts for one in so many."""


class RecentMean:
    """An exponentially weighted mean of times, in exact integers."""

    def __init__(self) -> None:
        self.mean_ns: int | None = None

    def add(self, value_ns: int) -> None:
        """Take in a value; the first one is the mean."""
        mean_ns = self.mean_ns
        self.mean_ns = value_ns if mean_ns is None else mean_ns + (value_ns - mean_ns) // _WEIGHT


class RecentInterval:
    """The recent mean time between two events."""

    def __init__(self) -> None:
        self._mean = RecentMean()
        self._last_ns: int | None = None

    @property
    def mean_ns(self) -> int | None:
        """The mean; None before the second event."""
        return self._mean.mean_ns

    def add(self, now_ns: int, *, is_first: bool) -> None:
        """Take in an event; ``is_first`` begins anew, because before it there was nothing to wait for."""
        if self._last_ns is not None and not is_first:
            self._mean.add(now_ns - self._last_ns)
        self._last_ns = now_ns
