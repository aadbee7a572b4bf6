"""Values of llm-d's Helm chart for pools: the model service on Kubernetes that a plan proposes."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.deployment.vllm_command import repository_of, vllm_flags

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

_DEGREES: Final = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
"""Flags that the chart adds by itself."""


def llm_d_values(pools: list[tuple[Pool, frozenset[str]]]) -> str:
    """Return the YAML of a fleet's values: one pool, or one that prefills and one that decodes.

    With each pool stand the engine options that its study sets.  Raises ValueError for another engine than vLLM's.
    """
    model = repository_of(pools[0][0])
    values: dict[str, Any] = {"modelArtifacts": {"uri": f"hf://{model}", "name": model, "size": "500Gi"}}
    for pool, stated in pools:
        values["prefill" if pool.role == "prefill" else "decode"] = _role(pool, stated)
    values.setdefault("prefill", {"create": False})
    text: str = yaml.safe_dump(values, sort_keys=False, width=120)
    return text


def _role(pool: Pool, stated: frozenset[str]) -> dict[str, Any]:
    gpus = str(pool.gpus_per_replica)
    arguments = [flag for flag in vllm_flags(pool, stated) if not flag.startswith(_DEGREES)]
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
