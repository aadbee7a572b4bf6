"""KServe's InferenceService and LLMInferenceService."""

from collections.abc import Mapping
from typing import Final

from cluster_sim.deployment.deployment_format import Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.pods import device_of_pod, is_server, server_of_container, server_of_pod
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.deployment.vllm_flags import Kind
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.errors import InputError

RUNTIME_FLAGS: Final[Mapping[str, Kind]] = {
    "model-name": "value",
    "model-id": "value",
    "model-dir": "value",
    "model-revision": "value",
    "backend": "value",
    "http-port": "value",
    "grpc-port": "value",
    "workers": "value",
    "predictor-host": "value",
    "predictor-protocol": "value",
    "enable-docs-url": "value",
    "enable-latency-logging": "value",
    "max-length": "value",
}
"""Flags of KServe's server for Hugging Face models, which starts vLLM."""

_SERVICE_KEYS: Final = frozenset(
    {
        "annotations",
        "batcher",
        "canaryTrafficPercent",
        "deploymentStrategy",
        "labels",
        "logger",
        "serviceAccountName",
        "scaleMetric",
        "scaleMetricType",
        "scaleTarget",
        "timeout",
        "containerConcurrency",
        "tolerations",
        "imagePullSecrets",
        "runtimeClassName",
        "volumes",
        "initContainers",
        "schedulerName",
        "priorityClassName",
    }
)

_LLM_KEYS: Final = frozenset(
    {"model", "replicas", "parallelism", "template", "worker", "prefill", "router", "baseRefs", "scaling"}
    | {"autoscaling", "labels", "annotations"}
)


def service_server(part: Part, name: str, source: Source, findings: Findings) -> Server | None:
    """Return the server of an InferenceService."""
    spec = part.mapping("spec")
    predictor = spec.mapping("predictor") if spec is not None else None
    if spec is None or predictor is None:
        raise (spec or part).missing("predictor" if spec is not None else "spec", "the predictor of the service")
    for other in ("transformer", "explainer"):
        if other in spec.value:
            findings.ignore(spec.place_of(other), spec.key(other), "runs beside the engine")
    predictor.ignore(_SERVICE_KEYS, findings)
    model = predictor.mapping("model")
    if model is None:
        server = server_of_pod(predictor, name, source.environment, findings, RUNTIME_FLAGS)
    else:
        _check_format(model)
        server = server_of_container(model, name, source.environment, findings, RUNTIME_FLAGS)
        server.device = device_of_pod(predictor)
        address = model.text("storageUri")
        server.model = Stated(address.text, address.place) if address is not None else None
    if server is None:
        return None
    _translate(server, findings)
    _workers(predictor, server)
    server.replicas = _replicas(predictor, source, findings)
    return server


def _check_format(model: Part) -> None:
    """Raise InputError for a model that no LLM server has."""
    form = model.mapping("modelFormat")
    kind = form.text("name") if form is not None else None
    if form is not None and kind is not None and kind.text.lower() not in {"huggingface", "vllm"}:
        raise InputError(
            f"{kind.place}: {form.key('name')}: {kind.text!r} is not served by vLLM; huggingface and vLLM are read"
        )


def _translate(server: Server, findings: Findings) -> None:
    """Turn the flags of KServe's own server into vLLM's."""
    kept: list[Argument] = []
    for argument in server.arguments:
        if argument.name == "model-id":
            kept.append(Argument("model", argument.value, argument.place, argument.written))
        elif argument.name == "backend" and (argument.value or "").lower() not in {"auto", "vllm"}:
            findings.miss(argument.place, f"{argument.written} {argument.value}", "only vLLM is modelled")
        elif argument.name == "max-length":
            kept.append(Argument("max-model-len", argument.value, argument.place, argument.written))
        elif argument.name in RUNTIME_FLAGS:
            findings.ignore(argument.place, f"{argument.written} {argument.value}")
        else:
            kept.append(argument)
    server.arguments = kept


def _workers(predictor: Part, server: Server) -> None:
    """Add the degrees of a service of several nodes."""
    worker = predictor.mapping("workerSpec")
    if worker is None:
        return
    server.gpus = None
    for key, flag in (
        ("tensorParallelSize", "tensor-parallel-size"),
        ("pipelineParallelSize", "pipeline-parallel-size"),
    ):
        found = worker.argument(key, flag)
        if found is not None:
            server.arguments.append(found)


def _replicas(predictor: Part, source: Source, findings: Findings) -> int:
    """Return how many replicas a service has; a range of them is autoscaling."""
    least, most = predictor.count("minReplicas"), predictor.count("maxReplicas")
    if source.has_replicas:
        return 1
    if most is not None and most != (1 if least is None else least):
        findings.miss(
            predictor.place_of("maxReplicas"),
            predictor.key("maxReplicas"),
            f"autoscaling from {1 if least is None else least} to {most or 'any number of'} replicas is not modelled; "
            "--replicas fixes their number",
        )
    if least == 0:
        findings.miss(
            predictor.place_of("minReplicas"),
            predictor.key("minReplicas"),
            "scaling to zero is not modelled; --replicas fixes their number",
        )
    return least or 1


def llm_service_server(part: Part, name: str, source: Source, findings: Findings) -> Server:
    """Return the server of an LLMInferenceService."""
    spec = part.mapping("spec")
    if spec is None:
        raise part.missing("spec", "the model and its server")
    spec.judge_keys(
        _LLM_KEYS,
        findings,
    )
    model = spec.mapping("model")
    if model is None:
        raise spec.missing("model", "the model, with its uri")
    server = _template_server(spec, name, source, findings)
    address = model.text("uri")
    if address is None:
        raise model.missing("uri", "the model's address, such as hf://Qwen/Qwen3-32B")
    server.model = address
    if "lora" in model.value:
        findings.miss(model.place_of("lora"), model.key("lora"), "adapters are set in the study's engine.lora")
    if "prefill" in spec.value:
        findings.miss(spec.place_of("prefill"), spec.key("prefill"), "prefill in servers of its own is not modelled")
    for key in ("scaling", "autoscaling"):
        if key in spec.value and not source.has_replicas:
            findings.miss(
                spec.place_of(key), spec.key(key), "autoscaling is not modelled; --replicas fixes their number"
            )
    if "baseRefs" in spec.value:
        findings.wonder(spec.place_of("baseRefs"), spec.key("baseRefs"), "presets of the cluster are not in this file")
    if "router" in spec.value:
        findings.assume(spec.place_of("router"), spec.key("router"), "no part of a pool; the study has a router block")
    server.arguments += _degrees(spec, findings)
    replicas = spec.count("replicas")
    server.replicas = 1 if replicas is None else replicas
    if replicas == 0 and not source.has_replicas:
        raise InputError(
            f"{spec.place_of('replicas')}: {spec.key('replicas')}: is 0, so nothing serves; give --replicas"
        )
    return server


def _template_server(spec: Part, name: str, source: Source, findings: Findings) -> Server:
    """Return the server of the pod template; KServe's presets start vLLM where the template only adds to them."""
    template = spec.mapping("template")
    if template is None:
        return Server(name, spec.place)
    containers = template.parts("containers")
    main = next((part for part in containers if str(part.value.get("name", "main")) == "main"), None)
    if main is None or is_server(main):
        server = server_of_pod(template, name, source.environment, findings)
        if server is None:
            server = Server(name, template.place)
    else:
        server = server_of_container(main, name, source.environment, findings)
    server.device = device_of_pod(template)
    if "worker" in spec.value:
        server.gpus = None
    return server


def _degrees(spec: Part, findings: Findings) -> list[Argument]:
    """Return the parallel degrees as arguments of vLLM."""
    parallelism = spec.mapping("parallelism")
    if parallelism is None:
        return []
    flags = {"tensor": "tensor-parallel-size", "pipeline": "pipeline-parallel-size", "data": "data-parallel-size"}
    parallelism.judge_keys([*flags, "dataLocal", "dataRPCPort", "expert"], findings)
    found = [parallelism.argument(key, flag) for key, flag in flags.items()]
    if parallelism.is_on("expert"):
        found.append(parallelism.argument("expert", "enable-expert-parallel"))
    parallelism.ignore({"dataLocal", "dataRPCPort"}, findings)
    return [argument for argument in found if argument is not None]
