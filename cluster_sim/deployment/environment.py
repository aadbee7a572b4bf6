"""Environment variables of a server: those of vLLM are judged, others belong to other programs."""

from collections.abc import Iterable

from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Stated
from cluster_sim.deployment.vllm_flags import ENVIRONMENT_IDLE, ENVIRONMENT_WITHOUT_EFFECT
from cluster_sim.suggestion import suggestion


def judge_environment(variables: Iterable[Stated], findings: Findings) -> None:
    """Note what assignments ``NAME=value`` mean for a study; a value that may be a secret is not repeated."""
    for variable in variables:
        name, _, value = variable.text.partition("=")
        if not name.startswith("VLLM_") or name in ENVIRONMENT_WITHOUT_EFFECT or ENVIRONMENT_IDLE.get(name) == value:
            findings.ignore(variable.place, name)
        elif name == "VLLM_USE_V1":
            findings.miss(variable.place, f"{name}={value}", "the earlier engine; write engine.kind: vllm_v0 by hand")
        elif name.startswith(("VLLM_ATTENTION", "VLLM_FLASH", "VLLM_USE_", "VLLM_ALL2ALL", "VLLM_MOE", "VLLM_ENABLE_")):
            findings.miss(variable.place, f"{name}={value}", "step times are those of vLLM's own choice of kernels")
        else:
            known = sorted(ENVIRONMENT_WITHOUT_EFFECT)
            findings.wonder(variable.place, name, f"unknown variable of vLLM{suggestion(name, known)}")
