"""Values of llm-d's Helm chart for a model service."""

from typing import Final

from cluster_sim.deployment.deployment_format import Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.gpu_names import gpu_of_labels
from cluster_sim.deployment.pods import is_server, server_of_container
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.errors import InputError

DEGREES: Final = {"tensor": "tensor-parallel-size", "data": "data-parallel-size", "pipeline": "pipeline-parallel-size"}
_COMMANDS: Final = frozenset({"vllmServe", "custom", "imageDefault"})
_WITHOUT_EFFECT: Final = frozenset(
    {
        "accelerator",
        "dra",
        "fullnameOverride",
        "httpRoute",
        "modelArtifacts",
        "monitoring",
        "multinode",
        "nameOverride",
        "schedulerName",
        "serviceAccount",
        "serviceAccountOverride",
    }
)


def chart_server(root: Part, source: Source, findings: Findings) -> Server:
    """Return the server of the chart's decode pods."""
    artifacts, decode = root.mapping("modelArtifacts"), root.mapping("decode")
    if artifacts is None:
        raise root.missing("modelArtifacts", "the model, with its uri")
    if decode is None:
        raise root.missing("decode", "the pods that serve")
    prefill = root.mapping("prefill")
    if prefill is not None and prefill.is_on("create") is not False and prefill.count("replicas") != 0:
        findings.miss(root.place_of("prefill"), root.key("prefill"), "prefill in servers of its own is not modelled")
    container = next((part for part in decode.parts("containers") if _is_engine(part)), None)
    if container is None:
        raise decode.missing("containers", "a list with a container that runs vLLM")
    name = artifacts.text("name")
    server = server_of_container(container, name.text if name else "main", source.environment, findings)
    server.model = _model(artifacts, server)
    server.arguments += _degrees(decode)
    server.device = gpu_of_labels(_labels(root, decode))
    replicas = decode.count("replicas")
    if (replicas == 0 or decode.is_on("create") is False) and not source.has_replicas:
        raise InputError(f"{decode.place}: {decode.key()}: has no replicas, so nothing serves; give --replicas")
    server.replicas = replicas or 1
    if root.is_on("multinode"):
        server.gpus = None
    for key in ("routing", "router"):
        if key in root.value:
            findings.assume(root.place_of(key), key, "no part of a pool; the study has a router block")
    if "autoscaling" in decode.value and not source.has_replicas:
        findings.miss(decode.place_of("autoscaling"), decode.key("autoscaling"), "autoscaling is not modelled")
    root.judge_keys([*_WITHOUT_EFFECT, "decode", "prefill", "routing", "router"], findings)
    root.ignore(_WITHOUT_EFFECT - {"modelArtifacts"}, findings)
    used = {"replicas", "create", "containers", "parallelism", "acceleratorTypes", "extraConfig", "autoscaling"}
    decode.ignore([key for key in decode.value if key not in used], findings)
    return server


def _is_engine(container: Part) -> bool:
    command = container.text("modelCommand")
    if command is not None and command.text not in _COMMANDS:
        raise container.wrong("modelCommand", f"one of {', '.join(sorted(_COMMANDS))}")
    return command is not None or is_server(container)


def _model(artifacts: Part, server: Server) -> Stated | None:
    """Return the model of the address, or the name where the address is a volume."""
    address, name = artifacts.text("uri"), artifacts.text("name")
    if address is not None and address.text.startswith("hf://"):
        return address
    return name or address or server.model


def _degrees(decode: Part) -> list[Argument]:
    parallelism = decode.mapping("parallelism")
    if parallelism is None:
        return []
    found = [parallelism.argument(key, flag) for key, flag in DEGREES.items()]
    return [argument for argument in found if argument is not None]


def _labels(root: Part, decode: Part) -> list[tuple[str, Stated]]:
    found = list(decode.pairs("extraConfig", "nodeSelector"))
    types = decode.mapping("acceleratorTypes")
    key = types.text("labelKey") if types is not None else None
    values = types.texts("labelValues") if types is not None else []
    if key is not None and len(values) == 1:
        found.append((key.text, values[0]))
    kind = root.mapping("accelerator")
    product = kind.text("product") if kind is not None else None
    return [*found, *([("gpu", product)] if product is not None else [])]
