"""Options of a hand-over that every connector shares."""

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.handover.decider_interface import DeciderBlock, default_decider
from cluster_sim.units import NS_PER_S, NS_PER_US


class HandoverOptions(ConfigModel):
    """How requests pass from prefill pools to decode pools; ``connector`` tells the connectors apart."""

    connector: str
    decider: DeciderBlock = Field(
        default_factory=default_decider,
        description="Which requests are handed over; the others run on the decode replica alone.",
    )
    latency_us: float = Field(
        20.0,
        ge=0,
        le=1e9,
        description="Time that the start of a transfer takes beside the latency of the links, in microseconds.",
    )
    descriptor_us: float = Field(
        0.2, ge=0, le=1e6, description="Time that each block of each layer adds to that, in microseconds."
    )
    hold_timeout_s: float = Field(
        480.0,
        gt=0,
        le=LONGEST_RUN_S,
        description="Time after which a prefill replica gives blocks back that nobody has read; the request fails.",
    )

    @property
    def hold_timeout_ns(self) -> int:
        """The time for which blocks are kept, in ns."""
        return round(self.hold_timeout_s * NS_PER_S)

    def start_ns(self, descriptors: int) -> int:
        """Return the time that the start of a transfer of so many reads takes, in ns."""
        return round((self.latency_us + self.descriptor_us * descriptors) * NS_PER_US)
