"""Import of one file: its servers, the pools they become, and the study around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server_pool import Choices, build_pool
from cluster_sim.deployment.study_text import study_text
from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_text


def import_deployment(
    format_name: str, path: Path, choices: Choices, environment: Mapping[str, str], *, allow_unmodelled: bool = False
) -> tuple[str, Findings]:
    """Return the study of a deployment as YAML text, and what there is to say about it.

    Raises InputError, with file, line and key, for a file that is wrong, and, unless ``allow_unmodelled``, for
    settings that the simulator has not.
    """
    reader = DEPLOYMENT_FORMATS.get(format_name).part
    source = Source(path, read_text(path).removeprefix("\ufeff"), environment, choices.replicas is not None)
    findings = Findings()
    deployment = reader(source, findings)
    if len(deployment.servers) > 1 and choices.model is not None:
        raise InputError(f"--model: {path} has {len(deployment.servers)} servers, each with a model of its own")
    pools = _merged([build_pool(server, choices, findings) for server in deployment.servers])
    if not allow_unmodelled:
        findings.refuse()
    return study_text(format_name, path, pools, deployment.router, findings), findings


def _merged(pools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return pools of different names; equal servers become replicas of one pool."""
    merged: list[dict[str, Any]] = []
    for pool in pools:
        rest = {key: value for key, value in pool.items() if key not in {"name", "replicas"}}
        same = next(
            (one for one in merged if {k: v for k, v in one.items() if k not in {"name", "replicas"}} == rest), None
        )
        if same is not None:
            same["replicas"] += pool["replicas"]
            continue
        names = {one["name"] for one in merged}
        name, number = pool["name"], 1
        while name in names:
            number += 1
            name = f"{pool['name']}-{number}"
        merged.append({**pool, "name": name})
    return merged
