"""Degraded or lost link between prefill and decode."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, TransferFault
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class LinkDegradedOptions(TargetedOptions):
    """KV caches move to and from the replicas with a share of the bandwidth for duration_s (600 s)."""

    example: ClassVar[Mapping[str, Any]] = {"pool": "main", "at_s": 60, "bandwidth_ratio": 0.1}

    default_duration_s: ClassVar = 600.0

    kind: Literal["link_degraded"] = "link_degraded"
    bandwidth_ratio: float = Field(0.5, ge=0, lt=1, description="Share of the bandwidth that is left; 0: link lost.")


@FAULT_KINDS.register("link_degraded", LinkDegradedOptions)
class LinkDegraded(Fault):
    """Transfers that use the link of one of the replicas are slower, and stand still at 0."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        options = self.options
        assert isinstance(options, LinkDegradedOptions)
        replicas = options.targets(self.key, fleet)
        drawn, joins = self.drawn("outage"), options.pool or ""
        return [TransferFault(replicas, options.intervals(), drawn, options.bandwidth_ratio, joins)]
