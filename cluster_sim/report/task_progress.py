"""Progress of several independent tasks: how many are done, the time left, and the figure of interest of the last."""

import time
from collections.abc import Callable


class TaskProgress:
    """Words the progress line that is printed as each task ends."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._started_s = clock()
        self._done = 0
        self._timed = 0

    def keep(self, count: int) -> None:
        """Count tasks that an earlier attempt has done."""
        self._done += count

    def line(self, label: str, result: str, *, is_instant: bool = False) -> str:
        """Count one more task and return its line; ``is_instant`` tells that it took no time to speak of."""
        self._done += 1
        self._timed += not is_instant
        return f"{self.head()}: {label}: {result}"

    def head(self) -> str:
        """Return how many tasks are done, and the time left once that can be told."""
        left = self._total - self._done
        head = f"{self._done:>{len(str(self._total))}}/{self._total}"
        if left and self._timed:
            head += f", {time_text((self._clock() - self._started_s) / self._timed * left)} left"
        return head


def time_text(seconds: float) -> str:
    """Return a wall time in whole seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
