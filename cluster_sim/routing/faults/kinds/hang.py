"""Hang of a serving engine."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class HangOptions(TargetedOptions):
    """Nothing goes on in the engine for duration_s (60 s), then all goes on as if nothing had been."""

    example: ClassVar[Mapping[str, Any]] = {"replicas": [0], "at_s": [30, 90], "duration_s": 20}

    kind: Literal["hang"] = "hang"


@FAULT_KINDS.register("hang", HangOptions)
class Hang(Fault):
    """Silence: nothing returns, nothing is refused; time-outs and health checks find it."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        return self.of_replicas(fleet, "hang")
