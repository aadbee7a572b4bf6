"""Branches of a run equal the runs that are made with their changes from the start."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.output.snapshot_file import SNAPSHOT_FILE
from cluster_sim.simulation.checkpoint import CHECKPOINT_FILE, Checkpoint, read_checkpoint, take_checkpoint
from cluster_sim.simulation.fleet_changes import changing_keys
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.fork_comparison import compare_branches, plain_fork
from cluster_sim.study.forked_faults import FAULTS_KEY
from cluster_sim.study.forking import UNCHANGED, BranchResult, ForkOptions, branches_of, run_branches
from tests.simulation.test_resume import files_of
from tests.simulation.test_scaling import SCALERS
from tests.small_run import small_study

AT_S = 3.7
REPOSITORY = Path(__file__).resolve().parents[2]
COLD = "fleet.pools.0.cold_start={process_s: 1, compile_s: 0, warmup_s: 0, weights_gb_per_s: 100}"
SESSIONS = (
    "workload={kind: sessions, count: 30, arrivals: {kind: poisson, request_rate: 4}, turns: {kind: fixed, value: 3}}",
    "workload.think_time_s={kind: fixed, value: 0.5}",
    "workload.lengths={prompt: {kind: uniform, min: 50, max: 400}, output: {kind: uniform, min: 2, max: 60}}",
    "fleet.pools.0.engine={num_kv_blocks: 800, enable_prefix_caching: true}",
)
CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "telemetry": (("router.policy=round_robin",), {"router.policy": "least_waiting"}),
    "first tokens": (("router.policy=least_waiting",), {"router.policy": "slo_aware"}),
    "options": ((), {"router.ties": "first"}),
    "scale": ((COLD,), {"fleet.pools.0.replicas": 4}),
    "engine": ((COLD,), {"fleet.pools.0.engine.max_num_seqs": 8}),
    "joined before": (
        (COLD, "run.changes=[{at_s: 1, set: {fleet.pools.0.replicas: 3}}]"),
        {"router.policy": "least_kv", "fleet.pools.0.replicas": 2},
    ),
    "joins after": (
        (COLD, "router.policy=round_robin", "run.changes=[{at_s: 5, set: {fleet.pools.0.replicas: 3}}]"),
        {"router.policy": "least_waiting"},
    ),
    "same instant": (
        (COLD, f"run.changes=[{{at_s: {AT_S}, set: {{fleet.pools.0.replicas: 3}}}}]"),
        {"router.policy": "random"},
    ),
    "clients": (
        ("router.client_timeout_s=0.4", "workload.arrivals.request_rate=40"),
        {"router.policy": "least_kv"},
    ),
    "closed loop": (("workload.max_concurrency=8",), {"router.policy": "power_of_two"}),
    "cache events": (SESSIONS, {"router.policy": "dynamo_kv"}),
    "cache contents": ((*SESSIONS, "router.policy=round_robin"), {"router.policy": "production_stack_kv_aware"}),
    "crash": (
        ("faults=[{kind: crash, at_s: 3, replicas: [0], duration_s: 2}]", "router.retries={}"),
        {"router.policy": "least_waiting"},
    ),
    "scaler": ((COLD, f"autoscaler={SCALERS['hpa']}"), {"router.policy": "least_waiting"}),
    "end": (("run.end_s=6",), {"router.policy": "least_waiting"}),
}


def fork(checkpoint: Checkpoint, values: dict[str, Any], out: Path) -> list[BranchResult]:
    """Run the unchanged branch and one with new values."""
    return run_branches(checkpoint, branches_of(checkpoint, values, {}), ForkOptions(out, "inline"))


@pytest.mark.parametrize("case", CASES)
def test_a_branch_equals_the_run_with_its_change_from_the_start(tmp_path: Path, case: str) -> None:
    """Every file of both branches has the bytes of the run that was made in one piece."""
    overrides, values = CASES[case]
    checkpoint = take_checkpoint(small_study(tmp_path, *overrides), AT_S, tmp_path / "warm")
    for result in fork(read_checkpoint(checkpoint.directory), values, tmp_path / "fork"):
        whole = run_study(result.branch.study, RunOptions(executor="inline", out=tmp_path / f"{result.branch.name}-w"))
        assert result.digest == whole.digest
        assert files_of(result.directory) == files_of(whole.directory)


def test_branches_multiply_and_are_compared_in_pairs(tmp_path: Path) -> None:
    """Two values of two keys make four branches beside the unchanged one; requests before the fork are left out."""
    checkpoint = take_checkpoint(small_study(tmp_path), AT_S, tmp_path / "warm")
    varied = {"router.policy": ["random", "round_robin"], "router.ties": ["first", "random"]}
    branches = branches_of(checkpoint, {}, varied)
    assert [branch.name for branch in branches][:2] == [UNCHANGED, "router.policy=random,router.ties=first"]
    results = run_branches(checkpoint, branches[:3], ForkOptions(tmp_path / "fork", "inline"))
    compared = compare_branches(checkpoint, results)
    arrivals = compared.requests
    assert 0 < arrivals < 150
    plain = json.loads(json.dumps(plain_fork(compared)))
    assert [branch["name"] for branch in plain["branches"]] == [branch.name for branch in branches[:3]]
    assert {row["figure"] for row in plain["branches"][1]["differences"]} >= {"ttft_p99_s", "e2e_mean_s"}
    assert plain["branches"][0]["differences"] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 2}, r"fork: seed cannot change during a run; these can: router\.split, router\.policy"),
        ({"router.policy": "best"}, r"fork: router\.policy must be one of aibrix_prefix_cache, "),
        ({"router.policy": "random", "router.weights": {}}, r"fork: router\.weights cannot change"),
        ({"fleet.pools.0.replicas": -1}, r"fork: replicas must be a whole number"),
        ({"router.telemetry.period_ms": 0}, r"fork: router\.telemetry\.period_ms cannot change"),
    ],
)
def test_what_cannot_change_is_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    """The message names the key, and what can change."""
    checkpoint = take_checkpoint(small_study(tmp_path), AT_S, tmp_path / "warm")
    with pytest.raises(InputError, match=message):
        branches_of(checkpoint, values, {})


def test_the_page_names_the_keys_that_can_change() -> None:
    """The table of docs/whatif.md has the keys of the code, and no others."""
    page = (REPOSITORY / "docs" / "whatif.md").read_text(encoding="utf-8")
    first_column = re.findall(r"^\| (`.*?) \| ", page, re.MULTILINE)
    named = [key for cell in first_column for key in re.findall(r"`(.+?)`", cell)]
    assert sorted(named) == sorted([*changing_keys(["ties"]), FAULTS_KEY])


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Damaged, of another version, of another study, or none at all; a fork that fails leaves nothing behind."""
    with pytest.raises(InputError, match="holds no checkpoint"):
        read_checkpoint(tmp_path)
    checkpoint = take_checkpoint(small_study(tmp_path), AT_S, tmp_path / "warm")
    snapshot, head = checkpoint.directory / SNAPSHOT_FILE, checkpoint.directory / CHECKPOINT_FILE
    data, text = snapshot.read_bytes(), head.read_text()
    snapshot.write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"warm/snapshot: is damaged: .*make the checkpoint again"):
        fork(checkpoint, {"router.policy": "random"}, tmp_path / "fork")
    snapshot.write_bytes(data)
    assert not (tmp_path / "fork").exists()
    head.write_text(text.replace('"version": "', '"version": "9'))
    with pytest.raises(InputError, match=r"is of version 9.* of the program, and this is "):
        read_checkpoint(checkpoint.directory)
    head.write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(checkpoint.directory)
    other = replace(checkpoint, study=small_study(tmp_path, "seed=7"))
    with pytest.raises(InputError, match="belongs to another study"):
        fork(other, {"router.policy": "random"}, tmp_path / "fork")


@pytest.mark.parametrize(
    ("at_s", "override", "message"),
    [
        (1e6, "seed=1", r"--at 1e\+06: the run ends before"),
        (6.0, "run.end_s=6", r"--at 6: the run ends at 6 s \(run\.end_s\)"),
        (-1.0, "seed=1", r"--at -1: must be a time after 0"),
    ],
)
def test_a_time_that_the_run_does_not_reach_is_refused(
    tmp_path: Path, at_s: float, override: str, message: str
) -> None:
    """Nothing is left behind."""
    with pytest.raises(InputError, match=message):
        take_checkpoint(small_study(tmp_path, override), at_s, tmp_path / "warm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml"]
