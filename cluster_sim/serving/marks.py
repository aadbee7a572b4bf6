"""Instants at which a replica's state is looked at: series ticks and telemetry samples, two grids in one."""

from cluster_sim.engine.instant import NEVER, Instant, Kind, instant


class Grid:
    """Every multiple of an interval, as instants of kind SAMPLE, from the first one on."""

    __slots__ = ("interval_ns", "next_ns")

    def __init__(self, interval_ns: int, first_ns: int = 0) -> None:
        self.interval_ns = interval_ns
        self.next_ns = first_ns

    @property
    def next_at(self) -> Instant:
        """The instant of the next point, or NEVER for an interval of 0 (no grid)."""
        return instant(self.next_ns, Kind.SAMPLE) if self.interval_ns else NEVER

    def step(self) -> int:
        """Move on by one point and return the time of the one passed, in ns."""
        passed = self.next_ns
        self.next_ns += self.interval_ns
        return passed

    def skip_below(self, limit: Instant) -> None:
        """Move to the last point below ``limit``, if that is further on."""
        last = ((limit - 1 - Kind.SAMPLE) >> 7) // self.interval_ns * self.interval_ns
        self.next_ns = max(self.next_ns, last)
