"""Kubernetes manifests under their own name."""

from typing import Literal

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.manifest import read_manifest


class KubernetesFormat(FormatOptions):
    """The same as kserve: a manifest of Deployment, StatefulSet, Pod, LeaderWorkerSet or KServe's kinds."""

    kind: Literal["kubernetes"] = "kubernetes"


@DEPLOYMENT_FORMATS.register("kubernetes", KubernetesFormat)
def read_kubernetes(source: Source, findings: Findings) -> Deployment:
    """Return the servers of all documents."""
    return read_manifest(source, findings)
