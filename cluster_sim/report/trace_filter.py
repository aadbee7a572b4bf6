"""Choice of what goes into a trace: replicas, a window of simulated time, the slowest requests."""

import math
from dataclasses import dataclass

from cluster_sim.errors import InputError
from cluster_sim.shown_values import cut


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """What a trace shows; without any choice everything."""

    replicas: frozenset[int] | None = None
    """Numbers of replicas; None for all.  A request is shown if one of them served it."""
    start_s: float = 0.0
    end_s: float = math.inf
    slowest: int | None = None
    """Of the requests that remain, so many that took longest; None for all."""

    @classmethod
    def parse(cls, replicas: str | None, window: str | None, slowest: int | None) -> "TraceFilter":
        """Return the filter that the options of a command line describe: "0,4-7" and "10:20.5".

        Raises InputError, which names the option and what it takes.
        """
        start_s, end_s = _window(window) if window is not None else (0.0, math.inf)
        return cls(None if replicas is None else _numbers(replicas), start_s, end_s, slowest)

    def check(self, replicas: int) -> None:
        """Raise InputError if a replica is named that a run with so many replicas has not."""
        unknown = sorted(number for number in self.replicas or () if number >= replicas)
        if unknown:
            raise InputError(
                f"--trace-replicas: there is no replica {unknown[0]}; they are numbered 0 to {replicas - 1}"
            )

    def has(self, replica: int | None) -> bool:
        """Return whether a replica is shown."""
        return self.replicas is None or replica in self.replicas

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Return whether something that lasts from ``start_s`` to ``end_s`` reaches into the window."""
        return end_s >= self.start_s and start_s <= self.end_s


def _numbers(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = _number(first, text), _number(last if dash else first, text)
        numbers.update(range(low, high + 1))
    if not numbers:
        raise _wrong_replicas(text)
    return frozenset(numbers)


def _number(digits: str, text: str) -> int:
    digits = digits.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 6):
        raise _wrong_replicas(text)
    return int(digits)


def _wrong_replicas(text: str) -> InputError:
    return InputError(f"--trace-replicas {cut(text)}: must be numbers of replicas, for example 0,4-7")


def _window(text: str) -> tuple[float, float]:
    start, colon, end = text.partition(":")
    try:
        window = float(start or 0.0), float(end or "inf")
    except ValueError:
        window = math.nan, math.nan
    if not colon or not 0 <= window[0] < window[1]:
        raise InputError(
            f"--trace-window {cut(text)}: must be two times in simulated seconds, the second later, for example 10:20.5"
        )
    return window
