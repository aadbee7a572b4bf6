"""Pods of Kubernetes: the vLLM server in their containers, its GPUs, and the GPU type that they ask for."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from cluster_sim.deployment.command_line import image_version, is_vllm_image, serve_commands
from cluster_sim.deployment.environment import judge_environment
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.gpu_names import GPU_LABELS, GPU_RESOURCE, gpu_of_labels
from cluster_sim.deployment.server import Server, Stated
from cluster_sim.deployment.vllm_arguments import parse_arguments
from cluster_sim.deployment.vllm_flags import Kind
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.errors import InputError

_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_SHELLS: Final = frozenset({"bash", "sh", "zsh", "dash"})
_STARTS: Final = re.compile(r"\bvllm\s+serve\b|vllm\.entrypoints")
EXTRA_ARGUMENTS: Final = "VLLM_ADDITIONAL_ARGS"
"""A variable whose text KServe's presets add to the command."""


def server_of_pod(
    pod: Part, name: str, environment: Mapping[str, str], findings: Findings, extra: Mapping[str, Kind] | None = None
) -> Server | None:
    """Return the vLLM server of a pod; None if none of its containers is one.

    Raises InputError where two are, which no pod of vLLM has.
    """
    found = [part for part in pod.parts("containers") if is_server(part)]
    if len(found) > 1:
        raise InputError(f"{found[1].place}: {found[1].key()}: a second vLLM server in one pod; import them apart")
    others = [part for part in pod.parts("containers") if not is_server(part)]
    for part in others:
        label = part.text("name") or part.text("image")
        findings.ignore(part.place, f"container {label.text if label else ''}".strip(), "is not vLLM")
    if not found:
        return None
    server = server_of_container(found[0], name, environment, findings, extra)
    server.device = device_of_pod(pod)
    return server


def is_server(container: Part) -> bool:
    """Return whether a container runs vLLM, by its image or its command."""
    image = container.text("image")
    words = " ".join(word.text for key in ("command", "args") for word in container.texts(key))
    return bool(_STARTS.search(words)) or (image is not None and is_vllm_image(image.text))


def server_of_container(
    container: Part,
    name: str,
    environment: Mapping[str, str],
    findings: Findings,
    extra: Mapping[str, Kind] | None = None,
) -> Server:
    """Return the server that a container runs; ``extra`` are flags of another program around vLLM."""
    variables = dict(environment)
    assignments = []
    for part in container.parts("env"):
        variable, value = part.text("name"), part.text("value")
        if variable is None:
            raise part.missing("name", "the name of a variable")
        if value is not None:
            variables[variable.text] = _expanded(value.text, variables)
        if variable.text != EXTRA_ARGUMENTS:
            assignments.append(Stated(f"{variable.text}={variables.get(variable.text, '')}", part.place))
    judge_environment(assignments, findings)
    tokens = arguments_of(container, variables)
    if EXTRA_ARGUMENTS in variables:
        place = container.place_of("env")
        tokens = [*tokens, *(Stated(word, place) for word in variables[EXTRA_ARGUMENTS].split())]
    parsed = parse_arguments(tokens, findings, extra)
    return Server(
        name=name,
        place=container.place,
        arguments=parsed.arguments,
        model=parsed.model,
        version=image_version(container.text("image")),
        gpus=gpus_of(container, findings),
    )


def arguments_of(container: Part, variables: Mapping[str, str]) -> list[Stated]:
    """Return the arguments of vLLM in a container's command."""
    words = [
        Stated(_expanded(word.text, variables), word.place)
        for key in ("command", "args")
        for word in container.texts(key)
    ]
    texts = [word.text for word in words]
    for index, text in enumerate(texts):
        if text.rpartition("/")[2] in _SHELLS and any(re.fullmatch(r"-\w*c", word) for word in texts[index + 1 : -1]):
            return script_arguments(words[-1], variables)
        if text.rpartition("/")[2] == "vllm" and texts[index + 1 : index + 2] == ["serve"]:
            return words[index + 2 :]
        if text.startswith("vllm.entrypoints"):
            return words[index + 1 :]
    if len(words) == 1 and _STARTS.search(texts[0]):
        return script_arguments(words[0], variables)
    return words[1:] if texts[:1] == ["serve"] else words


def script_arguments(script: Stated, variables: Mapping[str, str]) -> list[Stated]:
    """Return the arguments of the server that a script starts; InputError if it starts none, or several."""
    source, _, line = script.place.rpartition(":")
    is_block = "\n" in script.text
    commands = serve_commands(script.text, source, variables, int(line) + is_block)
    if len(commands) != 1:
        raise InputError(f"{script.place}: the script starts {len(commands)} vLLM servers; one is needed")
    return commands[0].arguments


def gpus_of(container: Part, findings: Findings) -> Stated | None:
    """Return how many GPUs a container asks for, if it says so."""
    for kind in ("limits", "requests"):
        for resource, count in container.pairs("resources", kind):
            if not GPU_RESOURCE.match(resource):
                continue
            if "/mig-" in resource or resource.endswith(".shared"):
                findings.miss(count.place, resource, "parts of a GPU are not modelled")
            return count
    return None


def device_of_pod(pod: Part) -> Stated | None:
    """Return the GPU that a pod's node selector or required affinity names, if it names one."""
    chosen = gpu_of_labels(pod.pairs("nodeSelector"))
    if chosen is not None:
        return chosen
    required = pod.mapping("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return gpu_of_labels(_expressions(required.parts("nodeSelectorTerms"))) if required is not None else None


def _expressions(terms: list[Part]) -> Iterator[tuple[str, Stated]]:
    for term in terms:
        yield from matched_labels(term)


def matched_labels(term: Part) -> Iterator[tuple[str, Stated]]:
    """Yield the labels that a selector term demands with one value."""
    for expression in term.parts("matchExpressions"):
        key, values = expression.text("key"), expression.texts("values")
        operator = expression.text("operator")
        is_demand = operator is not None and operator.text == "In"
        if key is not None and is_demand and key.text in GPU_LABELS and len(values) == 1:
            yield key.text, values[0]


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the references ``$(NAME)`` replaced that have a value."""
    return _REFERENCE.sub(lambda found: variables.get(found[1], found[0]), text)
