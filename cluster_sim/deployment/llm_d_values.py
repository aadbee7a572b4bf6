"""Values of llm-d's Helm chart for pools: the model service on Kubernetes that a plan proposes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.deployment.horizontal_autoscaler import manifest, object_name, scaled_pools, why_none
from cluster_sim.deployment.vllm_command import repository_of, vllm_flags
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions
from cluster_sim.routing.scaling.scalers.hpa import HorizontalOptions
from cluster_sim.units import GIB

PRODUCTS: Final[Mapping[str, str]] = {
    "a100-40gb": "NVIDIA-A100-SXM4-40GB",
    "a100-80gb": "NVIDIA-A100-SXM4-80GB",
    "a40": "NVIDIA-A40",
    "a6000": "NVIDIA-RTX-A6000",
    "b200": "NVIDIA-B200",
    "b300": "NVIDIA-B300",
    "gb200": "NVIDIA-GB200",
    "gb300": "NVIDIA-GB300",
    "h100-pcie": "NVIDIA-H100-PCIe",
    "h100-sxm": "NVIDIA-H100-80GB-HBM3",
    "h200": "NVIDIA-H200",
    "l40s": "NVIDIA-L40S",
    "rtx-4090": "NVIDIA-GeForce-RTX-4090",
    "rtx-pro-6000": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
}
"""Values of the node label ``nvidia.com/gpu.product`` as the GPU operator sets it."""

ROOM_RATIO: Final = 1.2
"""Size of the volume of a model over its weights."""
STEP_GIB: Final = 10

_DEGREES: Final = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
"""Flags that the chart adds by itself."""


def llm_d_values(pools: Sequence[Pool], autoscaler: AutoscalerOptions | None = None) -> str:
    """Return the YAML of a fleet's values: one pool, or one that prefills and one that decodes.

    Comments say what changes the replicas of a pool on which an autoscaler acts, and which replicas are larger than a
    node.  Raises ValueError as ``vllm_flags`` does.
    """
    model = repository_of(pools[0])
    artifacts = {"uri": f"hf://{model}", "name": model, "size": f"{volume_gib(load_model(pools[0].model))}Gi"}
    scaled = scaled_pools(autoscaler, pools)
    # The chart names its Deployments after the release unless they have a name that an autoscaler can refer to.
    values: dict[str, Any] = {"fullnameOverride": object_name(model)} if scaled else {}
    values["modelArtifacts"] = artifacts
    for pool in pools:
        values[_role_name(pool)] = _role(pool)
    values.setdefault("prefill", {"create": False})
    text: str = yaml.safe_dump(values, sort_keys=False, width=120)
    comments = [comment for pool in pools if (comment := _node_comment(pool))]
    comments += [_scaling_comment(autoscaler, pool) for pool in scaled] if autoscaler is not None else []
    return "".join(f"# {comment}\n" for comment in comments) + text


def llm_d_autoscalers(pools: Sequence[Pool], autoscaler: AutoscalerOptions | None) -> str:
    """Return the YAML documents of the HorizontalPodAutoscalers beside the chart; empty if the autoscaler has none."""
    if not isinstance(autoscaler, HorizontalOptions) or why_none(autoscaler):
        return ""
    scaled = scaled_pools(autoscaler, pools)
    return "---\n".join(manifest(autoscaler, pool, _workload(pool)) for pool in scaled)


def _workload(pool: Pool) -> str:
    """Return the name of the Deployment that the chart makes of a pool."""
    return f"{object_name(repository_of(pool))}-{_role_name(pool)}"


def _role_name(pool: Pool) -> str:
    return "prefill" if pool.role == "prefill" else "decode"


def _node_comment(pool: Pool) -> str:
    """Return that no node holds a replica of a pool; empty if one does."""
    node = pool.gpus_of_node(load_device(pool.device).gpus_per_node)
    if pool.gpus_per_replica <= node:
        return ""
    return (
        f"A replica takes {pool.gpus_per_replica} GPUs and a node has {node}: no pod of {_role_name(pool)} is placed "
        "as it stands: divide it over nodes by the chart's multinode (LeaderWorkerSet)."
    )


def _scaling_comment(autoscaler: AutoscalerOptions, pool: Pool) -> str:
    bounds, role, reason = autoscaler.bounds_of(pool.name), _role_name(pool), why_none(autoscaler)
    span = f"between {bounds.min_replicas} and {bounds.max_replicas}"
    if reason:
        return (
            f"The autoscaler {autoscaler.kind} has no equivalent HorizontalPodAutoscaler: {reason}. "
            f"{role}.replicas is the number at the start; the plan moves it {span}."
        )
    return f"The HorizontalPodAutoscaler {_workload(pool)} moves the replicas {span}; {role}.replicas is the start's."


def volume_gib(model: Model) -> int:
    """Return the size of the volume that holds a model's files: its weights as they are stored, and room beside them.

    Other files, and those of a download under way, take some; sizes are in steps of 10 GiB.
    """
    matrices = [projection for layer in model.layers for projection in layer.projections()]
    stored = sum(matrix.parameters * model.part_precision(matrix.part).bits for matrix in matrices)
    others = model.total_parameters - sum(matrix.parameters for matrix in matrices)
    least = (stored + others * model.part_precision("head").bits) / 8 / GIB * ROOM_RATIO
    return math.ceil(least / STEP_GIB) * STEP_GIB


def _role(pool: Pool) -> dict[str, Any]:
    gpus = str(pool.gpus_per_replica)
    arguments = [flag for flag in vllm_flags(pool) if not flag.startswith(_DEGREES)]
    parallelism = {"tensor": pool.tensor_parallel}
    parallelism |= {"pipeline": pool.pipeline_parallel} if pool.pipeline_parallel > 1 else {}
    parallelism |= {"data": pool.data_parallel} if pool.data_parallel > 1 else {}
    role: dict[str, Any] = {"create": True, "replicas": pool.replicas, "parallelism": parallelism}
    if pool.device in PRODUCTS:
        role["acceleratorTypes"] = {"labelKey": "nvidia.com/gpu.product", "labelValues": [PRODUCTS[pool.device]]}
    role["containers"] = [
        {
            "name": "vllm",
            "image": f"vllm/vllm-openai:v{_release(pool.engine.version)}",
            "modelCommand": "vllmServe",
            "args": arguments,
            "resources": {"limits": {"nvidia.com/gpu": gpus}, "requests": {"nvidia.com/gpu": gpus}},
        }
    ]
    return role


def _release(version: str) -> str:
    """Return a version with three numbers, as images are tagged."""
    return version if version.count(".") >= 2 else f"{version}.0"
