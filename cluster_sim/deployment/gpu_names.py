"""GPUs as clusters name them: node labels, selectors and resource names."""

import re
from collections.abc import Iterable
from typing import Final

from cluster_sim.calibration.library_match import match_device
from cluster_sim.conf_directory import library_names
from cluster_sim.deployment.server import Stated
from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion

GPU_LABELS: Final = frozenset(
    {
        "cloud.google.com/gke-accelerator",
        "nvidia.com/gpu.product",
        "gpu.nvidia.com/model",
        "gpu.nvidia.com/class",
        "k8s.amazonaws.com/accelerator",
        "karpenter.k8s.aws/instance-gpu-name",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "amd.com/gpu.product-name",
        "amd.com/gpu.family",
        "nvidia.com/gpu.machine",
        "accelerator",
        "gpu",
        "gpu-type",
    }
)
"""Labels of nodes whose values name a GPU or a kind of machine."""

GPU_RESOURCE: Final = re.compile(r"^(?:nvidia\.com|amd\.com|gpu\.intel\.com|habana\.ai)/[\w.-]+$|^google\.com/tpu$")
"""Resources of a container that count accelerators."""

_EXACT: Final = (
    (r"tesla-a100$|\bp4d\.|a100-(?:pcie|sxm4)-40", "a100-40gb"),
    (r"\bp4de\.|a2-ultragpu", "a100-80gb"),
    (r"a2-(?:high|mega)gpu", "a100-40gb"),
    (r"nc\d+ads_h100|h100[ _-]?pcie|h100 nvl", "h100-pcie"),
    (r"\bp5\.|a3-(?:high|mega|edge)gpu|nd\d+isr_h100", "h100-sxm"),
    (r"\bp5en?\.|a3-ultragpu|nd\d+isr_h200", "h200"),
    (r"\bp6-b200|a4-highgpu|nd\d+isr_.*b200", "b200"),
    (r"\bg6e\.", "l40s"),
)
"""Machine types of clouds, and names that the library's own patterns would take for another GPU."""


def device_name(stated: Stated) -> str:
    """Return the library device that a label means; InputError names the known ones."""
    lowered = stated.text.lower()
    for pattern, name in _EXACT:
        if re.search(pattern, lowered):
            return name
    try:
        return match_device(stated.text).name
    except InputError:
        known = ", ".join(library_names("devices"))
        raise InputError(
            f"{stated.place}: the GPU {stated.text!r} is not in the library; give --device with one of {known}, "
            "or the path of a file"
        ) from None


def gpu_of_labels(labels: Iterable[tuple[str, Stated]]) -> Stated | None:
    """Return the value of the first label that names a GPU, if any does."""
    return next((value for key, value in labels if key in GPU_LABELS), None)


def check_device(name: str) -> str:
    """Return ``name`` if it is a library device or a file; raise InputError that lists the known ones."""
    known = library_names("devices")
    if name in known or name.endswith((".yaml", ".yml", ".json")):
        return name
    raise InputError(f"--device: unknown name {name!r}{suggestion(name, known)}; conf/devices has: {', '.join(known)}")
