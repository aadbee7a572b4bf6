"""Branches with other faults equal the runs that have these faults from the start."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.simulation.checkpoint import read_checkpoint, take_checkpoint
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.forking import ForkOptions, branches_of, run_branches
from tests.simulation.test_resume import files_of
from tests.small_run import small_study

AT_S = 3.7
COLD = "fleet.pools.0.cold_start={process_s: 1, compile_s: 0, warmup_s: 0, weights_gb_per_s: 100}"
RETRIES = "router.retries={back_off: {initial_ms: 50}}"
HEALTH = "router.health={period_s: 0.2, timeout_s: 0.1, failure_threshold: 2, fails_requests: true"
PAIRS = (
    "fleet.pools=[{name: prefill, model: llama-3-8b, device: h100-sxm, replicas: 1, role: prefill}, "
    "{name: decode, model: llama-3-8b, device: h100-sxm, replicas: 2, role: decode}]"
)


def crash(*replicas: int, at_s: float = AT_S, duration_s: float = 1.0) -> dict[str, Any]:
    """Return a crash as a study has it."""
    return {"kind": "crash", "replicas": list(replicas), "at_s": at_s, "duration_s": duration_s}


CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "crash at the time itself": ((RETRIES,), {"faults": [crash(0)]}),
    "crash of all without retries": ((), {"faults": [crash(0, 1, at_s=3.8)]}),
    "second crash while one is down": (
        (RETRIES, "faults=[{kind: crash, replicas: [0], at_s: 3, duration_s: 2}]"),
        {"faults": [crash(0, at_s=3, duration_s=2), crash(0, 1, at_s=4.5), crash(0, at_s=5.5)]},
    ),
    "crash comes later": (
        (RETRIES, "faults=[{kind: crash, replicas: [1], at_s: 3.9, duration_s: 1}]"),
        {"faults.0.at_s": 5.0},
    ),
    "crash never comes": ((RETRIES, "faults=[{kind: crash, replicas: [1], at_s: 3.9, duration_s: 1}]"), {"faults": []}),
    "slow time is over": (
        ("faults=[{kind: slow, replicas: [0], at_s: [1, 4.5], duration_s: 1.2, factor: 3}]",),
        {"faults.0.at_s": [1, 6]},
    ),
    "hang that probes find": (
        (RETRIES, f"{HEALTH}, probe: generation}}", "faults=[{kind: hang, replicas: [1], at_s: 2.9, duration_s: 0.6}]"),
        {
            "faults": [
                {"kind": "hang", "replicas": [1], "at_s": 2.9, "duration_s": 0.6},
                {"kind": "hang", "replicas": [0], "at_s": 4, "duration_s": 1.5},
            ]
        },
    ),
    "notice of a crash": ((RETRIES, f"{HEALTH}, crash_notice_s: 0.05}}"), {"faults": [crash(1, at_s=4)]}),
    "lost link": (
        (RETRIES, HEALTH + "}"),
        {"faults": [{"kind": "link_lost", "replicas": [0], "at_s": 4, "duration_s": 1.3}, crash(0, at_s=4.5)]},
    ),
    "router stays away": (
        ("faults=[{kind: router_restart, at_s: [1, 2.6], duration_s: 1.5}]",),
        {"faults.0.at_s": [1, 2.6, 4, 6]},
    ),
    "drawn ones go on": (
        (RETRIES, "faults=[{kind: slow, pool: main, mtbf_s: 1, mttr_s: 0.4, factor: 2}]"),
        {
            "faults": [
                {"kind": "slow", "pool": "main", "mtbf_s": 1, "mttr_s": 0.4, "factor": 2},
                crash(0, at_s=4),
            ]
        },
    ),
    "replicas that joined": (
        (COLD, RETRIES, "run.changes=[{at_s: 0.5, set: {fleet.pools.0.replicas: 3}}]"),
        {"faults": [{"kind": "crash", "pool": "main", "at_s": 4, "duration_s": 1}], "fleet.pools.0.replicas": 4},
    ),
    "another policy, too": ((RETRIES,), {"faults": [crash(1)], "router.policy": "least_waiting"}),
    "stages": (
        (RETRIES, "fleet.pools.0.pipeline_parallel=2"),
        {"faults": [crash(0), {"kind": "hang", "replicas": [1], "at_s": 4, "duration_s": 1}]},
    ),
    "clients": (
        ("router.client_timeout_s=0.6", RETRIES, "workload.arrivals.request_rate=40", "workload.count=300"),
        {"faults": [crash(0), {"kind": "slow", "replicas": [1], "at_s": 4, "factor": 4}]},
    ),
    "links between replicas": (
        (
            PAIRS,
            RETRIES,
            "faults=[{kind: link_degraded, pool: prefill, at_s: 3, duration_s: 2, bandwidth_ratio: 0.1}]",
        ),
        {
            "faults": [
                {"kind": "link_degraded", "pool": "prefill", "at_s": 3, "duration_s": 2, "bandwidth_ratio": 0.1},
                {"kind": "link_degraded", "replicas": [1], "at_s": 4, "duration_s": 1, "bandwidth_ratio": 0.01},
                crash(2, at_s=5),
            ]
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_branch_equals_the_run_with_its_faults_from_the_start(tmp_path: Path, case: str) -> None:
    """Every file of both branches has the bytes of the run that was made in one piece, and the faults show."""
    overrides, values = CASES[case]
    checkpoint = take_checkpoint(small_study(tmp_path, *overrides), AT_S, tmp_path / "warm")
    branches = branches_of(read_checkpoint(checkpoint.directory), values, {})
    results = run_branches(checkpoint, branches, ForkOptions(tmp_path / "fork", "inline"))
    for result in results:
        whole = run_study(result.branch.study, RunOptions(executor="inline", out=tmp_path / f"{result.branch.name}-w"))
        assert result.digest == whole.digest
        assert files_of(result.directory) == files_of(whole.directory)
    assert results[0].digest != results[1].digest


def test_a_branch_is_the_study_with_its_faults(tmp_path: Path) -> None:
    """Nothing else differs from the study that is run from the start."""
    study = small_study(tmp_path)
    checkpoint = take_checkpoint(study, AT_S, tmp_path / "warm")
    _, branch = branches_of(checkpoint, {"faults": [crash(0)]}, {})
    expected: Study = study.with_changes({"faults": [crash(0)]})
    assert branch.study == expected


@pytest.mark.parametrize(
    ("override", "values", "message"),
    [
        ("seed=1", {"faults": [crash(0, at_s=3)]}, r"fork: faults\.0: begins at 3 s, before the checkpoint at 3\.7 s"),
        ("seed=1", {"faults": [crash(2)]}, r"faults\.0\.replicas\.0: there is no replica 2"),
        ("seed=1", {"faults": [{"kind": "crash"}]}, r"faults\.0"),
        ("seed=1", {"faults": [{"kind": "router_restart", "at_s": 1}]}, r"fork: faults\.0: begins at 1 s, before"),
        (
            "seed=1",
            {"faults": [{"kind": "slow", "pool": "main", "mtbf_s": 9}]},
            r"fork: faults\.0: its times are drawn",
        ),
        (
            "faults=[{kind: crash, replicas: [0], at_s: [1, 9]}]",
            {"faults": []},
            r"fork: faults\.0: is left out, and begins at 1 s, before the checkpoint",
        ),
        (
            "faults=[{kind: slow, pool: main, mtbf_s: 1, mttr_s: 1}]",
            {"faults.0.seed": 2},
            r"fork: faults\.0: its times are drawn",
        ),
        (
            "faults=[{kind: link_lost, replicas: [1], at_s: 1, duration_s: 5}]",
            {"faults": [{"kind": "link_lost", "replicas": [1], "at_s": 1, "duration_s": 5}, crash(1, at_s=4)]},
            r"fork: faults\.1: begins at 4 s, but what replica 1 does until 6\.\d+ s was decided",
        ),
        (
            "faults=[{kind: hang, replicas: [1], at_s: 1, is_permanent: true}]",
            {"faults": [{"kind": "hang", "replicas": [1], "at_s": 1, "is_permanent": True}, crash(1, at_s=4)]},
            r"fork: faults\.1: begins at 4 s, but what replica 1 does until the end was decided",
        ),
    ],
)
def test_faults_that_come_too_early_are_refused(
    tmp_path: Path, override: str, values: dict[str, Any], message: str
) -> None:
    """The message names the fault, when it begins and what stands against it."""
    checkpoint = take_checkpoint(small_study(tmp_path, override), AT_S, tmp_path / "warm")
    with pytest.raises(InputError, match=message):
        branches_of(checkpoint, values, {})
