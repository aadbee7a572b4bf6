"""Slow replica: thermal throttling, or one slow rank that its whole group waits for."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class SlowOptions(TargetedOptions):
    """Steps take factor times as long for duration_s (600 s)."""

    example: ClassVar[Mapping[str, Any]] = {"replicas": [0], "at_s": 60, "factor": 2}

    default_duration_s: ClassVar = 600.0

    kind: Literal["slow"] = "slow"
    factor: float = Field(
        1.5, gt=1, le=1000, description="Factor on the time of a step; throttling to 0.5-0.9 of the clock is 1.1 to 2."
    )


@FAULT_KINDS.register("slow", SlowOptions)
class Slow(Fault):
    """Steps that start in the slow time take longer; of several such faults at once the largest factor counts."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        options = self.options
        assert isinstance(options, SlowOptions)
        return self.of_replicas(fleet, "slowdown", options.factor)
