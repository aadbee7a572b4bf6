"""Hardware of replicas for tests."""

from dataclasses import replace
from typing import Any

from cluster_sim.hardware.device import Device, load_device
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.hardware.replica_hardware import ONE_RANK, ExpertSharding, ReplicaHardware


def hardware(
    model: str | Model = "llama-3-8b",
    device: str | Device = "h100-sxm",
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    experts: ExpertSharding = ONE_RANK,
    **engine: Any,
) -> ReplicaHardware:
    """Return the hardware of a replica of vLLM 0.15 with its defaults but for ``engine``."""
    loaded = load_device(device) if isinstance(device, str) else device
    return ReplicaHardware(
        load_model(model) if isinstance(model, str) else model,
        loaded,
        replace(default_settings(loaded), **{"version": "0.15", **engine}),
        tensor_parallel,
        pipeline_parallel,
        experts,
    )
