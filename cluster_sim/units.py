"""Units: simulated time counts in whole nanoseconds, memory in bytes."""

import math
from typing import Any, Final

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
GIB: Final = 1 << 30


def read_ns(seconds: Any) -> int:
    """Return nanoseconds of a time in seconds that stands in a file.

    Raises TypeError for anything but a number - a text times a thousand million is one of gigabytes - and ValueError
    for one that is not finite.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"a time is a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds):
        raise ValueError(f"a time is finite, not {seconds}")
    return round(seconds * NS_PER_S)
