"""Error of a GPU that needs a reboot."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions


class GpuResetOptions(TargetedOptions):
    """A GPU error takes the replica away until the machine has rebooted, duration_s (1,200 s) later."""

    example: ClassVar[Mapping[str, Any]] = {"pool": "main", "mtbf_s": 22500000}

    default_duration_s: ClassVar = 1200.0

    kind: Literal["gpu_reset"] = "gpu_reset"


@FAULT_KINDS.register("gpu_reset", GpuResetOptions)
class GpuReset(Fault):
    """A crash whose restart takes 10 to 30 minutes.

    Rate to start from: a published training run on 16,384 GPUs had 419 interruptions in 54 days, one per 50,000
    GPU-hours (Llama 3 report, 2024); a replica of eight GPUs fails every 6,250 hours, 22.5 million seconds.
    """

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        return self.of_replicas(fleet, "crash")
