"""Helm values of vLLM's production stack."""

from typing import Final, Literal

from cluster_sim.deployment.command_line import image_version
from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.environment import judge_environment
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.gpu_names import gpu_of_labels
from cluster_sim.deployment.pods import matched_labels
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.deployment.vllm_arguments import parse_arguments
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.document import Document
from cluster_sim.errors import InputError

FLAGS: Final = {
    "maxModelLen": "max-model-len",
    "dtype": "dtype",
    "maxNumSeqs": "max-num-seqs",
    "maxNumBatchedTokens": "max-num-batched-tokens",
    "gpuMemoryUtilization": "gpu-memory-utilization",
    "maxLoras": "max-loras",
    "tensorParallelSize": "tensor-parallel-size",
    "pipelineParallelSize": "pipeline-parallel-size",
}
SWITCHES: Final = {
    "enablePrefixCaching": "enable-prefix-caching",
    "enableChunkedPrefill": "enable-chunked-prefill",
}
MODEL_KEYS: Final = frozenset(
    {
        "annotations",
        "chatTemplate",
        "chatTemplateConfigMap",
        "containerSecurityContext",
        "gpuModels",
        "hf_token",
        "imagePullPolicy",
        "imagePullSecret",
        "initContainer",
        "labels",
        "nodeName",
        "podAnnotations",
        "priorityClassName",
        "pvcAccessMode",
        "pvcLabels",
        "pvcMatchLabels",
        "pvcStorage",
        "requestCPU",
        "requestGPUMem",
        "requestMemory",
        "limitCPU",
        "limitMemory",
        "runtimeClassName",
        "securityContext",
        "serviceAccountName",
        "shmSize",
        "storageClass",
        "terminationGracePeriodSeconds",
        "tolerations",
        "extraVolumeMounts",
        "extraVolumes",
        "extraPorts",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "strategy",
        "topologySpreadConstraints",
    }
)
"""Keys of a model's block without effect."""
READ_KEYS: Final = frozenset(
    {
        "enableLoRA",
        "env",
        "keda",
        "lmcacheConfig",
        "modelURL",
        "name",
        "nodeSelectorTerms",
        "nodeSelector",
        "raySpec",
        "repository",
        "replicaCount",
        "requestGPU",
        "requestGPUType",
        "tag",
        "vllmConfig",
        "autoscaling",
    }
)
MODELLED_ROUTING: Final = {"roundrobin": "round_robin"}


class ProductionStackFormat(FormatOptions):
    """Helm values with servingEngineSpec.modelSpec, one pool a model."""

    kind: Literal["production-stack"] = "production-stack"


@DEPLOYMENT_FORMATS.register("production-stack", ProductionStackFormat)
def read_production_stack(source: Source, findings: Findings) -> Deployment:
    """Return one server a model."""
    document = Document.parse(source.text, str(source.path))
    root = Part(document)
    engines = root.mapping("servingEngineSpec")
    if engines is None:
        raise InputError(
            f"{source.path}:1: servingEngineSpec: is missing, so these are no values of the production stack; the keys "
            f"are {', '.join(root.value)}"
        )
    models = engines.parts("modelSpec")
    if not models:
        raise engines.missing("modelSpec", "a list with one block a model")
    servers = [_server(model, source, findings) for model in models]
    for key in root.value:
        if key not in {"servingEngineSpec", "routerSpec"}:
            findings.ignore(root.place_of(key), key)
    for key in engines.value:
        if key not in {"modelSpec", "enableEngine"}:
            findings.ignore(engines.place_of(key), engines.key(key))
    return Deployment(servers, _router(root, servers, findings))


def _server(model: Part, source: Source, findings: Findings) -> Server:
    name, url = model.text("name"), model.text("modelURL")
    if url is None:
        raise model.missing("modelURL", "the model, such as meta-llama/Llama-3.1-8B-Instruct")
    model.judge_keys(MODEL_KEYS | READ_KEYS, findings)
    model.ignore(MODEL_KEYS, findings)
    repository, tag = model.text("repository"), model.text("tag")
    image = Stated(f"{repository.text if repository else ''}:{tag.text}", tag.place) if tag is not None else None
    replicas = model.count("replicaCount")
    if replicas == 0 and not source.has_replicas:
        raise InputError(f"{model.place_of('replicaCount')}: {model.key('replicaCount')}: is 0, so nothing serves")
    server = Server(
        name=name.text if name is not None else "main",
        place=model.place,
        arguments=_arguments(model, findings),
        model=url,
        version=image_version(image),
        device=gpu_of_labels(_labels(model)),
        gpus=model.text("requestGPU") if model.count("requestGPU") else None,
        replicas=replicas or 1,
    )
    judge_environment(_variables(model), findings)
    _judge_features(model, server, source, findings)
    return server


def _labels(model: Part) -> list[tuple[str, Stated]]:
    found = [label for term in model.parts("nodeSelectorTerms") for label in matched_labels(term)]
    return [*found, *model.pairs("nodeSelector")]


def _variables(model: Part) -> list[Stated]:
    found = []
    for part in model.parts("env"):
        name, value = part.text("name"), part.text("value")
        if name is None:
            raise part.missing("name", "the name of a variable")
        found.append(Stated(f"{name.text}={value.text if value is not None else ''}", part.place))
    return found


def _arguments(model: Part, findings: Findings) -> list[Argument]:
    """Return the arguments that the chart gives to vLLM."""
    config = model.mapping("vllmConfig")
    if config is None:
        return []
    config.judge_keys([*FLAGS, *SWITCHES, "extraArgs", "v0", "v1"], findings)
    found = [config.argument(key, flag) for key, flag in FLAGS.items()]
    for key, flag in SWITCHES.items():
        if config.is_on(key) is not None:
            found.append(config.argument(key, flag))
    earlier = config.text("v0")
    if earlier is not None and earlier.text in {"1", "true"}:
        findings.miss(earlier.place, config.key("v0"), "the earlier engine; write engine.kind: vllm_v0 by hand")
    named = {argument.name: argument for argument in found if argument is not None}
    extra = parse_arguments(config.texts("extraArgs"), findings)
    if extra.model is not None:
        findings.wonder(extra.model.place, extra.model.text, "belongs to no flag")
    return list({**named, **{argument.name: argument for argument in extra.arguments}}.values())


def _judge_features(model: Part, server: Server, source: Source, findings: Findings) -> None:
    """Note what the chart adds around vLLM."""
    lora = model.text("enableLoRA")
    if lora is not None and lora.text == "true":
        server.arguments.append(Argument("enable-lora", "true", lora.place, model.key("enableLoRA")))
    cache = model.mapping("lmcacheConfig")
    if cache is not None and cache.is_on("enabled") is not False:
        findings.miss(model.place_of("lmcacheConfig"), model.key("lmcacheConfig"), "KV outside the GPU is not modelled")
    kind = model.text("requestGPUType")
    if kind is not None and "mig" in kind.text:
        findings.miss(kind.place, f"{model.key('requestGPUType')} {kind.text}", "parts of a GPU are not modelled")
    for key in ("keda", "autoscaling"):
        block = model.mapping(key)
        if block is not None and block.is_on("enabled") is not False and not source.has_replicas:
            findings.miss(
                model.place_of(key), model.key(key), "autoscaling is not modelled; --replicas fixes their number"
            )
    if "raySpec" in model.value:
        findings.assume(model.place_of("raySpec"), model.key("raySpec"), "stages on several nodes are one replica")
        server.gpus = None


def _router(root: Part, servers: list[Server], findings: Findings) -> dict[str, str] | None:
    """Return the study's router where the values state one; another than is modelled matters for several replicas."""
    router = root.mapping("routerSpec")
    if router is None:
        return None
    for key in router.value:
        if key != "routingLogic":
            findings.ignore(router.place_of(key), router.key(key))
    logic = router.text("routingLogic")
    if logic is None:
        return None
    policy = MODELLED_ROUTING.get(logic.text)
    if policy is not None:
        return {"policy": policy}
    if any(server.replicas > 1 for server in servers):
        findings.miss(logic.place, f"{router.key('routingLogic')} {logic.text}", "of these roundrobin is modelled")
    else:
        findings.ignore(logic.place, router.key("routingLogic"), "each model has one replica")
    return None
