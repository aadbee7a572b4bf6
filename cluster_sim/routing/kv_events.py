"""KV events: what replicas tell a router of the prefixes in their caches, and how old that is."""

from pydantic import Field

from cluster_sim.engine.observation import Grid
from cluster_sim.options import MS_PER_DAY, ConfigModel
from cluster_sim.serving.content_sampler import PREFIXES
from cluster_sim.units import NS_PER_MS


class KvEvents(ConfigModel):
    """Age of what is known of caches."""

    period_ms: float = Field(10.0, ge=0.001, le=MS_PER_DAY, description="Time between two reports of a replica.")
    latency_ms: float = Field(1.0, ge=0, le=MS_PER_DAY, description="Time from a report until the router can use it.")

    def grid(self) -> Grid:
        """Return the grid of reports, which every decision reads."""
        latency_ns = round(self.latency_ms * NS_PER_MS)
        return Grid(
            PREFIXES, round(self.period_ms * NS_PER_MS), latency_ns, frozenset({PREFIXES}), is_read_by_schedules=True
        )
