"""Strides of a run that is watched but not paced: how far it goes before somebody looks at it again."""

from typing import Final

from cluster_sim.engine.instant import Instant, Kind, instant, time_of
from cluster_sim.units import NS_PER_S

FIRST_NS: Final = NS_PER_S
LONG_PAUSES: Final = 4.0
"""Pauses that a stride may take before the next ones become shorter."""
MOST_GROWTH: Final = 16
"""How many times as long as the last one a stride may be.  Every stride ends with the counters of all replicas, which
doubled strides collected five times in the first ten seconds of a fleet of 4,096, instead of twice."""


class Strides:
    """Limits of simulated time, one stride after the other; a stride takes about ``pause_s`` to some times that."""

    def __init__(self) -> None:
        self._stride_ns = FIRST_NS
        self._limit = instant(FIRST_NS, Kind.RUN_END)
        self._since_s = -1.0

    def limit(self, reached: Instant, now_s: float) -> tuple[Instant, bool]:
        """Return how far the run may go that has come to ``reached``, and whether that is as far as it goes.

        ``now_s`` is a time of any wall clock.
        """
        if self._since_s < 0:
            self._since_s = now_s
        return self._limit, reached >= self._limit

    def begin(self, reached: Instant, now_s: float, pause_s: float) -> None:
        """Begin a stride: everything has come along to ``reached``, and nobody need look again for ``pause_s``."""
        if reached >= self._limit:
            took_s = now_s - self._since_s
            if took_s < pause_s:
                self._stride_ns = round(self._stride_ns * max(2.0, min(pause_s / max(took_s, 1e-9), MOST_GROWTH)))
            elif took_s > LONG_PAUSES * pause_s:
                self._stride_ns = max(self._stride_ns // 2, 1)
        self._since_s = now_s
        self._limit = instant(time_of(reached) + self._stride_ns, Kind.RUN_END)
