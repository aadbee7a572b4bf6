"""Link from a replica to the router: a fixed delay, and outages in which nothing sets out."""

from cluster_sim.serving.lives.intervals import Intervals


class ReturnLink:
    """When the router has what the replica sends."""

    __slots__ = ("outages", "return_ns")

    def __init__(self, return_ns: int) -> None:
        self.return_ns = return_ns
        self.outages: Intervals | None = None
        """None if there are none."""

    def sets_out_ns(self, time_ns: int) -> int:
        """Return when what is sent at ``time_ns`` sets out."""
        if self.outages is None:
            return time_ns
        outage = self.outages.holding(time_ns)
        return time_ns if outage is None else outage.end_ns

    def arrival_ns(self, time_ns: int) -> int:
        """Return when the router has what is sent at ``time_ns``."""
        return self.sets_out_ns(time_ns) + self.return_ns
