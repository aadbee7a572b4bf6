"""Scenarios of llm-d's benchmark: one model with its decode pods, and the command that they run."""

from typing import Final

from cluster_sim.deployment.command_line import image_version, serve_commands
from cluster_sim.deployment.deployment_format import Source
from cluster_sim.deployment.environment import judge_environment
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.gpu_names import GPU_RESOURCE, gpu_of_labels
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.deployment.vllm_arguments import parse_arguments
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.errors import InputError

MODEL_FLAGS: Final = {
    "maxModelLen": ("max-model-len", "VLLM_MAX_MODEL_LEN"),
    "blockSize": ("block-size", "VLLM_BLOCK_SIZE"),
    "gpuMemoryUtilization": ("gpu-memory-utilization", "VLLM_ACCELERATOR_MEM_UTIL"),
    "maxNumSeq": ("max-num-seqs", "VLLM_MAX_NUM_SEQ"),
    "maxNumSeqs": ("max-num-seqs", "VLLM_MAX_NUM_SEQ"),
    "maxNumBatchedTokens": ("max-num-batched-tokens", "VLLM_MAX_NUM_BATCHED_TOKENS"),
}
"""Keys of the model with the flags that they become, and the variables that commands find them in."""
DEGREES: Final = {
    "tensor": ("tensor-parallel-size", "TP_SIZE"),
    "data": ("data-parallel-size", "DP_SIZE"),
    "dataLocal": ("data-parallel-size-local", "DP_SIZE_LOCAL"),
    "pipeline": ("pipeline-parallel-size", "PP_SIZE"),
}
_MODEL_KEYS: Final = frozenset({*MODEL_FLAGS, "name", "shortName", "path", "huggingfaceId", "size"})
_COMMON_WITHOUT_EFFECT: Final = frozenset({"accelerator", "storage"})
_COMMON_KEYS: Final = frozenset({"model", "affinity", "vllmCommon", "extraEnvVars", *_COMMON_WITHOUT_EFFECT})
_SCENARIO_KEYS: Final = frozenset(
    {"common", "kustomize", "modelservice", "standalone", "decode", "prefill", "router", "harness", "workDir", "name"}
    | {"description", "gateway", "httpRoute"}
)
_OTHER_SECTIONS: Final = frozenset({"harness", "workDir", "storage", "name", "description"})


def scenario_server(scenario: Part, source: Source, findings: Findings) -> Server:
    """Return the server of a scenario.

    Raises InputError for one that llm-d itself would fill in from elsewhere.
    """
    common = scenario.mapping("common") or scenario
    service = scenario.mapping("modelservice") or scenario
    model = common.mapping("model")
    if model is None:
        raise common.missing("model", "the model, with its name")
    _check_method(scenario, findings)
    prefill = service.mapping("prefill")
    if prefill is not None and prefill.is_on("enabled") is not False and prefill.count("replicas") != 0:
        findings.miss(
            service.place_of("prefill"), service.key("prefill"), "prefill in servers of its own is not modelled"
        )
    decode = service.mapping("decode") or scenario.mapping("standalone")
    if decode is None:
        raise service.missing("decode", "the pods that serve")
    identity = model.text("huggingfaceId") or model.text("name")
    if identity is None:
        raise model.missing("name", "the model's id, such as Qwen/Qwen3-32B")
    model.judge_keys(_MODEL_KEYS, findings)
    name = scenario.text("name")
    server = Server(
        name=name.text if name is not None else "main",
        place=decode.place,
        arguments=_arguments(model, decode, common, source, findings),
        model=identity,
        version=image_version(decode.text("image")),
        device=gpu_of_labels([*common.pairs("affinity", "nodeSelector"), *decode.pairs("nodeSelector")]),
        gpus=_gpus(decode),
    )
    replicas = decode.count("replicas")
    if replicas == 0 and not source.has_replicas:
        raise InputError(f"{decode.place_of('replicas')}: {decode.key('replicas')}: is 0, so nothing serves")
    server.replicas = 1 if replicas is None else replicas or 1
    _judge_surroundings(scenario, service, decode, findings)
    return server


def _check_method(scenario: Part, findings: Findings) -> None:
    """Raise InputError for a scenario whose servers another file describes."""
    kustomize = scenario.mapping("kustomize")
    if kustomize is None:
        return
    if kustomize.is_on("enabled"):
        raise InputError(
            f"{kustomize.place_of('enabled')}: {kustomize.key('enabled')}: is true, so llm-d's own manifests count, "
            "not this scenario; import those with: cluster-sim import kserve FILE"
        )
    findings.ignore(scenario.place_of("kustomize"), scenario.key("kustomize"), "is not enabled")


def _arguments(model: Part, decode: Part, common: Part, source: Source, findings: Findings) -> list[Argument]:
    """Return the arguments of the scenario's own command, or of the one that llm-d makes from its keys."""
    values = dict(source.environment)
    stated: list[Argument] = []
    for part, flags in ((model, MODEL_FLAGS), (decode.mapping("parallelism"), DEGREES)):
        for key, (flag, variable) in flags.items():
            argument = part.argument(key, flag) if part is not None else None
            if argument is not None:
                stated.append(argument)
                values.setdefault(variable, argument.value or "")
    for key, variable in (("name", "MODEL_NAME"), ("path", "MODEL_PATH")):
        found = model.text(key)
        if found is not None:
            values.setdefault(variable, found.text)
    vllm = decode.mapping("vllm")
    command = vllm.text("customCommand") if vllm is not None else None
    for part in (*decode.parts("extraEnvVars"), *common.parts("extraEnvVars")):
        variable_name, value = part.text("name"), part.text("value")
        if variable_name is not None and value is not None:
            values[variable_name.text] = value.text
            judge_environment([Stated(f"{variable_name.text}={value.text}", part.place)], findings)
    if command is not None:
        return _of_command(command, values, source, findings)
    flags_part = common.mapping("vllmCommon", "flags")
    words = [] if flags_part is None else _flag_words(flags_part)
    words += vllm.texts("additionalFlags") if vllm is not None else []
    extra = parse_arguments([piece for word in words for piece in _pieces(word)], findings).arguments
    return list({argument.name: argument for argument in [*stated, *extra]}.values())


def _of_command(command: Stated, values: dict[str, str], source: Source, findings: Findings) -> list[Argument]:
    line = int(command.place.rpartition(":")[2])
    commands = serve_commands(command.text, str(source.path), values, line + ("\n" in command.text))
    if len(commands) != 1:
        raise InputError(f"{command.place}: the command starts {len(commands)} vLLM servers; one is needed")
    judge_environment(commands[0].variables, findings)
    return parse_arguments(commands[0].arguments, findings).arguments


def _flag_words(part: Part) -> list[Stated]:
    """Return switches and values of a mapping as words of a command line."""
    return [Stated(f"--{key.removeprefix('--')}={value.text}", value.place) for key, value in part.pairs()]


def _pieces(word: Stated) -> list[Stated]:
    """Return the words of a list item, which may hold a flag with its value."""
    return [Stated(piece, word.place) for piece in word.text.split()]


def _gpus(decode: Part) -> Stated | None:
    for kind in ("limits", "requests"):
        for resource, count in decode.pairs("resources", kind):
            if GPU_RESOURCE.match(resource):
                return count
    return None


def _judge_surroundings(scenario: Part, service: Part, decode: Part, findings: Findings) -> None:
    """Note the router and everything around the servers."""
    if "router" in service.value:
        findings.assume(
            service.place_of("router"), service.key("router"), "no part of a pool; the study has a router block"
        )
    parallelism = decode.mapping("parallelism")
    if parallelism is not None and (parallelism.count("workers") or 1) > 1:
        findings.assume(parallelism.place_of("workers"), parallelism.key("workers"), "nodes of one replica")
    scenario.judge_keys(_SCENARIO_KEYS | _COMMON_KEYS, findings)
    common = scenario.mapping("common")
    if common is not None:
        common.judge_keys(_COMMON_KEYS, findings)
        common.ignore(_COMMON_WITHOUT_EFFECT, findings)
    scenario.ignore(_OTHER_SECTIONS, findings)
    used = {"parallelism", "replicas", "vllm", "resources", "extraEnvVars", "image", "nodeSelector"}
    decode.ignore([key for key in decode.value if key not in used], findings)
    if service is not scenario:
        known = {"enabled", "router", "decode", "prefill"}
        service.ignore([key for key in service.value if key not in known], findings)
