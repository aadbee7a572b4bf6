"""Work of a run: what it cost its processes, for the manifest."""

from typing import Any, NamedTuple


class RunWork(NamedTuple):
    """What a run cost its processes, since it began or went on from a snapshot: no two runs have the same."""

    router_cpu_s: float = 0.0
    """CPU time of the thread that runs the router's event loop; in one process it runs everything else too."""
    group_cpu_s: tuple[float, ...] = ()
    """CPU time of the event loop of each actor with replicas."""
    waited_s: float = 0.0
    """Wall time for which the router had nothing to do but to wait for actors."""
    sent_bytes: int = 0
    """Frames of the router to actors."""
    received_bytes: int = 0
    """Frames of actors to the router."""

    def figures(self, wall_s: float) -> dict[str, Any]:
        """Return the figures as the manifest has them; ``least_wall_s`` is what a run with these actors takes at least,
        however many cores there are.
        """
        return {
            **self._asdict(),
            "blocked_ratio": min(self.waited_s / wall_s, 1.0) if wall_s else 0.0,
            "least_wall_s": max(self.router_cpu_s, *self.group_cpu_s, 0.0),
        }
