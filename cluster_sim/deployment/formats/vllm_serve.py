"""Command lines that start ``vllm serve``."""

from typing import Literal

from cluster_sim.deployment.command_line import ServeCommand, image_version, serve_commands
from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.environment import judge_environment
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Server
from cluster_sim.deployment.vllm_arguments import parse_arguments
from cluster_sim.errors import InputError


class VllmServeFormat(FormatOptions):
    """A text file with one or more commands: vllm serve, its Python module, or a container of vLLM."""

    kind: Literal["vllm-serve"] = "vllm-serve"


@DEPLOYMENT_FORMATS.register("vllm-serve", VllmServeFormat)
def read_vllm_serve(source: Source, findings: Findings) -> Deployment:
    """Return one server a command."""
    commands = serve_commands(source.text, str(source.path), source.environment)
    if not commands:
        raise InputError(f"{source.path}:1: starts no vLLM server{_guess(source.text)}")
    return Deployment([server_of(command, findings) for command in commands])


def server_of(command: ServeCommand, findings: Findings) -> Server:
    """Return the server that a command starts."""
    parsed = parse_arguments(command.arguments, findings)
    judge_environment(command.variables, findings)
    if command.is_in_loop:
        findings.assume(command.place, "loop", "the server is counted once; --replicas says how often it starts")
    served = next((argument.value for argument in parsed.arguments if argument.name == "served-model-name"), None)
    return Server(
        name=(served or "main").split()[0],
        place=command.place,
        arguments=parsed.arguments,
        model=parsed.model,
        version=image_version(command.image),
    )


def _guess(text: str) -> str:
    """Return which format a text may be instead."""
    for mark, name in (
        ("apiVersion:", "kserve"),
        ("servingEngineSpec:", "production-stack"),
        ("modelArtifacts:", "llm-d"),
        ("scenario:", "llm-d"),
        ("cache_config_info", "metrics"),
    ):
        if mark in text:
            return f"; it looks like the format {name}"
    return ": `vllm serve MODEL ...`, `python -m vllm.entrypoints.openai.api_server ...` or `docker run ... IMAGE ...`"
