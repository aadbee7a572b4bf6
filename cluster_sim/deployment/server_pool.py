"""A server of a deployment as a pool of a study.

What a deployment leaves open is what vLLM does by itself: prefix caching and chunked prompts are on.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from cluster_sim.deployment.engine_flags import EngineFlags
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.flag_values import is_on, whole_number
from cluster_sim.deployment.gpu_names import check_device, device_name
from cluster_sim.deployment.model_names import resolve_model
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.deployment.vllm_flags import MODELLED, NOT_MODELLED
from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model

FIRST_V1: Final = (0, 8)
"""vLLM's present engine is the default from this version on."""
_LONGEST_NAME: Final = 90
"""Names of studies have 100 characters at most, those of pools more."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user says beside the file."""

    model: str | None = None
    device: str | None = None
    replicas: int | None = None
    tensor_parallel: int | None = None
    engine_version: str | None = None


def build_pool(server: Server, choices: Choices, findings: Findings) -> dict[str, Any]:
    """Return the pool of a server, as it stands in a study.

    Raises InputError for a value that vLLM would refuse, an unknown model, and a GPU that nothing names.
    """
    flags = {argument.name: argument for argument in server.arguments}
    for argument in server.arguments:
        judge(argument, findings)
    model_name, model, added = resolve_model(_model(server, flags, choices), findings)
    pool: dict[str, Any] = {
        "name": pool_name(server.name),
        "model": model_name,
        "device": _device(server, choices),
        "replicas": choices.replicas or server.replicas,
    }
    pool |= _degrees(server, flags, model, choices, findings)
    data_parallel = pool.get("data_parallel", 1)
    if data_parallel > 1 and not model.is_moe:
        del pool["data_parallel"]
        pool["replicas"] *= data_parallel
        place = flags["data-parallel-size"].place if "data-parallel-size" in flags else server.place
        findings.assume(place, f"data parallel {data_parallel}", f"{model.name} has no experts: ranks are replicas")
    engine: dict[str, Any] = {"kind": "vllm_v1", **_version(server, choices, findings)}
    pool["engine"] = engine | EngineFlags(server, flags, model, added, findings).options()
    return pool


def judge(argument: Argument, findings: Findings) -> None:
    """Note a flag that no pool has: without effect, or not modelled."""
    if argument.name in MODELLED:
        return
    rule = NOT_MODELLED.get(argument.name)
    setting = _written(argument)
    if rule is None:
        findings.ignore(argument.place, setting)
    elif argument.value == "false" or (argument.value or "").replace(" ", "") in rule.idle:
        findings.ignore(argument.place, setting, "does nothing with this value")
    else:
        findings.miss(argument.place, setting, rule.reason)


def pool_name(text: str) -> str:
    """Return a text with nothing in it that a pool's or a study's name cannot have, and room for a number behind it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text.rpartition("/")[2]).strip("-._")
    return plain[:_LONGEST_NAME].strip("-._") or "main"


def _written(argument: Argument) -> str:
    return argument.written if argument.value in {None, "true", "false"} else f"{argument.written} {argument.value}"


def _model(server: Server, flags: dict[str, Argument], choices: Choices) -> Stated:
    """Return the model that is named first: by the user, by a flag, by the description."""
    if choices.model is not None:
        return Stated(choices.model, "--model")
    flag = flags.get("model")
    stated = Stated(flag.value or "", flag.place) if flag is not None else server.model
    if stated is None or not stated.text:
        raise InputError(f"{server.place}: names no model; give --model")
    if "$" in stated.text:
        raise InputError(
            f"{stated.place}: the model is {stated.text!r}, and the file gives the variable no value; give --env "
            "NAME=VALUE, or --model"
        )
    return stated


def _device(server: Server, choices: Choices) -> str:
    if choices.device is not None:
        return check_device(choices.device)
    if server.device is None:
        raise InputError(f"{server.place}: nothing names the type of the GPU; give --device")
    return device_name(server.device)


def _degrees(
    server: Server, flags: dict[str, Argument], model: Model, choices: Choices, findings: Findings
) -> dict[str, int]:
    """Return the parallel degrees above 1; InputError where the GPUs that are asked for do not suffice."""
    degrees = {
        key: whole_number(flags[flag]) if flag in flags else 1
        for key, flag in (
            ("tensor_parallel", "tensor-parallel-size"),
            ("pipeline_parallel", "pipeline-parallel-size"),
            ("data_parallel", "data-parallel-size"),
        )
    }
    if choices.tensor_parallel is not None:
        degrees["tensor_parallel"] = choices.tensor_parallel
    needed = degrees["tensor_parallel"] * degrees["pipeline_parallel"] * degrees["data_parallel"]
    if server.gpus is not None and server.gpus.text.isdigit():
        count = int(server.gpus.text)
        if count < needed:
            raise InputError(
                f"{server.gpus.place}: asks for {count} GPU{'s' if count != 1 else ''}, but its parallel degrees take "
                f"{needed} (tensor {degrees['tensor_parallel']}, pipeline {degrees['pipeline_parallel']}, data "
                f"{degrees['data_parallel']})"
            )
        if count > needed:
            findings.assume(server.gpus.place, f"{count} GPUs", f"the server uses {needed}; the others are not counted")
    expert = flags.get("enable-expert-parallel")
    if expert is not None and is_on(expert):
        if model.is_moe:
            degrees["expert_parallel"] = degrees["tensor_parallel"] * degrees["data_parallel"]
        else:
            findings.ignore(expert.place, expert.written, f"{model.name} has no experts")
    return {key: degree for key, degree in degrees.items() if degree > 1}


def _version(server: Server, choices: Choices, findings: Findings) -> dict[str, str]:
    """Return the engine's version, if it is stated; vLLM's earlier engine is not this one."""
    if choices.engine_version is not None:
        return {"version": choices.engine_version}
    if server.version is None:
        findings.assume(
            server.place, "version", "none is stated, so the study's default holds; --engine-version says it"
        )
        return {}
    numbers = tuple(int(part) for part in server.version.text.split("."))
    if numbers < FIRST_V1:
        findings.miss(
            server.version.place,
            f"vLLM {server.version.text}",
            "its engine is the earlier one; write engine.kind: vllm_v0 by hand",
        )
    return {"version": server.version.text}
