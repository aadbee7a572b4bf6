"""Loss of the link between the router and a replica."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class LinkLostOptions(TargetedOptions):
    """Nothing passes between router and replica for duration_s (60 s); what was sent arrives after it."""

    example: ClassVar[Mapping[str, Any]] = {"replicas": [0], "at_s": 60, "duration_s": 5}

    kind: Literal["link_lost"] = "link_lost"


@FAULT_KINDS.register("link_lost", LinkLostOptions)
class LinkLost(Fault):
    """Messages in both directions wait until the link is back, as TCP sends them again; the replica goes on working."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        return self.of_replicas(fleet, "outage")
