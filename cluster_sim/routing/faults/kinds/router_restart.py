"""Restart of the router."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, RouterFault
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, FaultOptions


class RouterRestartOptions(FaultOptions):
    """The router forgets its counts and indexes; for duration_s (5 s) it takes no requests."""

    example: ClassVar[Mapping[str, Any]] = {"at_s": 60, "duration_s": 2}

    default_duration_s: ClassVar = 5.0

    kind: Literal["router_restart"] = "router_restart"


@FAULT_KINDS.register("router_restart", RouterRestartOptions)
class RouterRestart(Fault):
    """Streams through the router break: requests in flight and waiting fail; arrivals wait until it is back."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        return [RouterFault(self.options.intervals(), self.drawn("outage", subject="router"))]
