"""Kubernetes manifests: the servers of every document, by its kind."""

from collections.abc import Callable, Iterator
from typing import Final

from cluster_sim.deployment.deployment_format import Deployment, Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.inference_services import llm_service_server, service_server
from cluster_sim.deployment.pods import server_of_pod
from cluster_sim.deployment.server import Server
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.document import Document
from cluster_sim.errors import InputError

AUTOSCALERS: Final = frozenset({"HorizontalPodAutoscaler", "ScaledObject", "VariantAutoscaling"})
WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "Job"})
ManifestReader = Callable[[Part, Source, Findings], Server | None]


def read_manifest(source: Source, findings: Findings) -> Deployment:
    """Return the servers of all documents of a file.

    Raises InputError where no document has one.
    """
    servers: list[Server] = []
    kinds: list[str] = []
    for part in _documents(source):
        kind = part.text("kind")
        if kind is None:
            raise part.missing("kind", "the kind of the object, such as Deployment or InferenceService")
        kinds.append(kind.text)
        server = _server(kind.text, part, source, findings)
        if server is not None:
            servers.append(server)
    if not servers:
        findings.refuse()
        raise InputError(
            f"{source.path}:1: holds no vLLM server; its documents are {', '.join(kinds) or 'none'}. Read are "
            f"{', '.join(sorted([*WORKLOADS, *READERS, 'Pod']))}"
        )
    return Deployment(servers)


def _documents(source: Source) -> Iterator[Part]:
    """Yield the objects of a file, also those of lists."""
    for document in Document.parse_all(source.text, str(source.path)):
        part = Part(document)
        items = part.parts("items") if str(part.value.get("kind", "")).endswith("List") else [part]
        yield from items


def _server(kind: str, part: Part, source: Source, findings: Findings) -> Server | None:
    name = object_name(part)
    if kind in READERS:
        return READERS[kind](part, source, findings)
    if kind in WORKLOADS:
        return _workload(part, source, findings)
    if kind == "Pod":
        spec = part.mapping("spec")
        return server_of_pod(spec, name, source.environment, findings) if spec is not None else None
    place = part.place_of("kind")
    if kind in AUTOSCALERS and not source.has_replicas:
        spec = part.mapping("spec") or part
        least = spec.count("minReplicas" if "minReplicas" in spec.value else "minReplicaCount")
        most = spec.count("maxReplicas" if "maxReplicas" in spec.value else "maxReplicaCount")
        if most is None or least != most:
            findings.miss(place, f"{kind} {name}", "autoscaling is not modelled; --replicas fixes their number")
            return None
    findings.ignore(place, f"{kind} {name}".strip())
    return None


def object_name(part: Part) -> str:
    """Return the name of an object, empty if it has none."""
    metadata = part.mapping("metadata")
    name = metadata.text("name") if metadata is not None else None
    return name.text if name is not None else ""


def _workload(part: Part, source: Source, findings: Findings) -> Server | None:
    spec = part.mapping("spec")
    if spec is None:
        raise part.missing("spec", "the pods of the object")
    pod = spec.mapping("template", "spec")
    if pod is None:
        raise spec.missing("template", "the pods of the object, with a spec")
    server = server_of_pod(pod, object_name(part), source.environment, findings)
    replicas = spec.count("replicas")
    if server is None:
        findings.ignore(part.place_of("kind"), f"{part.value['kind']} {object_name(part)}", "runs no vLLM")
    elif replicas == 0 and not source.has_replicas:
        raise InputError(
            f"{spec.place_of('replicas')}: {spec.key('replicas')}: is 0, so nothing serves; give --replicas"
        )
    elif replicas:
        server.replicas = replicas
    return server


def _leader_worker_set(part: Part, source: Source, findings: Findings) -> Server | None:
    spec = part.mapping("spec")
    if spec is None:
        raise part.missing("spec", "groups of a leader and its workers")
    template = spec.mapping("leaderWorkerTemplate")
    if template is None:
        raise spec.missing("leaderWorkerTemplate", "the pods of a group")
    pod = template.mapping("leaderTemplate", "spec") or template.mapping("workerTemplate", "spec")
    if pod is None:
        raise template.missing("workerTemplate", "the pods of a group, with a spec")
    server = server_of_pod(pod, object_name(part), source.environment, findings)
    if server is not None:
        server.replicas = spec.count("replicas") or 1
        server.gpus = None
    return server


def _daemon_set(part: Part, source: Source, findings: Findings) -> Server | None:
    if not source.has_replicas:
        findings.miss(part.place_of("kind"), f"DaemonSet {object_name(part)}", "has one pod a node; give --replicas")
    return _workload(part, source, findings)


def _inference_service(part: Part, source: Source, findings: Findings) -> Server | None:
    return service_server(part, object_name(part), source, findings)


def _llm_inference_service(part: Part, source: Source, findings: Findings) -> Server | None:
    return llm_service_server(part, object_name(part), source, findings)


def _ray(part: Part, _source: Source, findings: Findings) -> None:
    findings.miss(part.place_of("kind"), f"{part.value['kind']} {object_name(part)}", "servers inside Ray are not read")


READERS: Final[dict[str, ManifestReader]] = {
    "DaemonSet": _daemon_set,
    "InferenceService": _inference_service,
    "LLMInferenceService": _llm_inference_service,
    "LeaderWorkerSet": _leader_worker_set,
    "RayCluster": _ray,
    "RayService": _ray,
}
