"""Crash of a serving process."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class CrashOptions(TargetedOptions):
    """The process dies with all its requests and its cache; it serves again after duration_s (60 s), empty."""

    example: ClassVar[Mapping[str, Any]] = {"replicas": [0], "at_s": 60, "duration_s": 45}

    kind: Literal["crash"] = "crash"


@FAULT_KINDS.register("crash", CrashOptions)
class Crash(Fault):
    """Connections of its requests are reset at once, new ones are refused until it is back.

    The time that it is away is a restart without a new node: process start, weights, compilation.
    """

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        return self.of_replicas(fleet, "crash")
