"""Fleets that cannot serve what is asked of them, and the laws that every run keeps."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import Plan, make_plan
from tests.small_run import run_small

PARTS = (
    "workload={kind: mix, parts: [{kind: synthetic, count: 9, arrivals: {kind: poisson, request_rate: 9}, "
    "lengths: {prompt: {kind: fixed, value: 9}, output: {kind: fixed, value: 9}}, traits: {model: %s}}]}"
)
PREFILL = (
    "fleet.pools=[{name: p, role: prefill, model: %s, device: h100-sxm}, "
    "{name: d, role: %s, model: llama-3-8b, device: h100-sxm}]"
)


def plan_of(folder: Path, *overrides: str) -> Plan:
    """Return the plan of the small study with ``overrides``."""
    run_small(folder, "workload.count=1")
    return make_plan(load_study(folder / "study.yaml", overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (PREFILL % ("qwen3-8b", "decode"), r"^fleet.pools.0.role: prefill, but no pool decodes for qwen3-8b"),
        (PREFILL % ("llama-3-8b", "encode"), r"^fleet.pools.0.role: prefill, but no pool decodes for llama-3-8b"),
        (PARTS % "llama-3-70b", r"^workload.parts.0.traits.model: 'llama-3-70b' is not served; .*ask for one of llama"),
        (
            (PARTS % "x").replace("model: x", "lora: a"),
            r"^workload.parts.0.traits.lora: no pool serves adapters; give ",
        ),
        (
            (PARTS % "x").replace("model: x", "lora_pool: 3"),
            r"^workload.parts.0.traits.lora_pool: no pool",
        ),
    ],
)
def test_fleets_that_cannot_serve_are_refused(tmp_path: Path, override: str, message: str) -> None:
    """Prefill without decode of its model, and a model without a pool, are refused with the key,
    and adapters without slots.
    """
    with pytest.raises(InputError, match=message):
        plan_of(tmp_path, override)


@pytest.mark.parametrize("role", ["decode", "both", "prefill-decode", "encode-prefill-decode"])
def test_prefill_with_any_pool_that_decodes_is_taken(tmp_path: Path, role: str) -> None:
    """Roles that end requests complete a prefill pool of their model."""
    assert plan_of(tmp_path, PREFILL % ("llama-3-8b", role)).replicas == 2


def test_every_request_ends_once(tmp_path: Path) -> None:
    """Arrived is the sum over all statuses, no id comes twice, and idle replicas hold no blocks; time-outs included."""
    for overrides in ([], ["router.client_timeout_s=0.5"], ["run.end_s=3"]):
        summary = run_small(tmp_path, *overrides).summary
        checks, requests = summary["checks"], summary["whole_run"]["requests"]
        assert checks["requests"]["arrived"] == sum(count for status, count in requests.items() if status != "total")
        assert checks["requests"]["repeated"] == checks["blocks"]["held_blocks"] == 0
        assert all(check["holds"] for check in checks.values())
