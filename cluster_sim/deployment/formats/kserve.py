"""KServe's services, and every other Kubernetes manifest."""

from typing import Literal

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.manifest import read_manifest


class KserveFormat(FormatOptions):
    """A manifest with InferenceService, LLMInferenceService, Deployment or the like; several documents are allowed."""

    kind: Literal["kserve"] = "kserve"


@DEPLOYMENT_FORMATS.register("kserve", KserveFormat)
def read_kserve(source: Source, findings: Findings) -> Deployment:
    """Return the servers of all documents."""
    return read_manifest(source, findings)
