"""Faults in whole runs: conservation, what requests end with, and equality in every executor."""

from collections import Counter
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.simulation.plan import make_plan
from tests.equality import equal_everywhere
from tests.evidence import Evidence
from tests.small_run import small_study

CRASH = "{kind: crash, replicas: [0], at_s: 2, duration_s: 3}"
DRAWN = "{kind: crash, pool: main, mtbf_s: 2, mttr_s: 0.7}"
HANG = "{kind: hang, pool: main, mtbf_s: 3, mttr_s: 0.5}"
SLOW = "{kind: slow, pool: main, mtbf_s: 2, mttr_s: 1, factor: 2.5}"
LINK = "{kind: link_lost, pool: main, mtbf_s: 3, mttr_s: 0.3}"
RESTART = "{kind: router_restart, at_s: 4, duration_s: 0.2}"
RETRIES = "router.retries={back_off: {initial_ms: 20}}"


def counts(evidence: Evidence) -> Counter[tuple[str, str]]:
    """Return the requests by status and reason."""
    words = zip(evidence.column("status"), evidence.column("reason"), strict=True)
    return Counter((STATUSES[status], REASONS[reason]) for status, reason in words)


def run(folder: Path, faults: str, *overrides: str) -> Evidence:
    evidence = equal_everywhere(small_study(folder, f"faults=[{faults}]", *overrides))
    assert len(evidence.rows) == 150
    assert evidence.column("request_id") == list(range(150))
    return evidence


def test_a_crash_fails_what_is_there_and_refuses_what_comes(tmp_path: Path) -> None:
    """Without retries requests at the replica end with the crash; until it is back new ones are refused at once."""
    found = counts(run(tmp_path, CRASH))
    assert set(found) == {("finished", ""), ("failed", "crash"), ("failed", "unreachable")}
    assert found["failed", "crash"] > 1
    assert found["failed", "unreachable"] > 5


def test_retries_save_what_has_not_begun(tmp_path: Path) -> None:
    """Refused requests find another replica; of those that were cut off only the ones that had begun are lost."""
    evidence = run(tmp_path, CRASH, RETRIES)
    found = counts(evidence)
    assert set(found) <= {("finished", ""), ("failed", "crash")}
    assert found["failed", "crash"] <= counts(run(tmp_path, CRASH))["failed", "crash"]
    assert max(evidence.column("retries")) >= 1


def test_migration_saves_what_has_begun(tmp_path: Path) -> None:
    """With migration every request finishes; the client has seen its first token before the crash."""
    evidence = run(tmp_path, CRASH, RETRIES, "router.migration={limit: 3}")
    assert counts(evidence) == {("finished", ""): 150}
    moved = [row for row, retries in enumerate(evidence.column("retries")) if retries]
    first, finish = evidence.column("first_token_ns"), evidence.column("finish_ns")
    crash_ns = 2_000_000_000
    assert any(first[row] < crash_ns < finish[row] for row in moved)
    assert evidence.column("generated_tokens") == evidence.column("output_tokens")


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        ("round_robin", (DRAWN, HANG, RESTART)),
        ("round_robin", (HANG, SLOW, RESTART)),
        ("power_of_two", (DRAWN, SLOW, LINK, RESTART)),
        ("least_waiting", (DRAWN, HANG, SLOW, LINK, RESTART)),
        ("round_robin", (DRAWN, HANG, SLOW, LINK, RESTART)),
    ],
)
def test_drawn_faults_of_every_kind(tmp_path: Path, policy: str, kinds: tuple[str, ...]) -> None:
    """Crashes, hangs, slow times and lost links at drawn times, with health checks, breakers and time-outs."""
    evidence = run(
        tmp_path,
        ", ".join(kinds),
        f"router.policy={policy}",
        "router.retries={attempt_timeout_s: 1, back_off: {initial_ms: 20}, budget: {ratio: 0.5}}",
        "router.health={period_s: 0.2, timeout_s: 0.1, fails_requests: true, probe: generation}",
        "router.circuit_breaker={failure_threshold: 2, open_s: 0.5, success_threshold: 1}",
        "router.migration={limit: 2}",
        "router.client_timeout_s=4",
        "fleet.pools.0.replicas=3",
    )
    found = counts(evidence)
    assert found["finished", ""] > 60
    assert found["failed", "router_restart"] > 0


def test_queues_hold_requests_while_everything_is_down(tmp_path: Path) -> None:
    """With flow control and health notices requests wait for the restart instead of failing."""
    evidence = run(
        tmp_path,
        "{kind: node_loss, replicas: [0, 1], at_s: 2, duration_s: 1}",
        RETRIES,
        "router.migration={limit: 3}",
        "router.health={period_s: 0.5, timeout_s: 0.1, crash_notice_s: 0.05}",
        "admission={detector: {kind: concurrency}, queue: {time_to_live_s: 10}}",
    )
    assert counts(evidence) == {("finished", ""): 150}
    pairs = zip(evidence.column("arrival_ns"), evidence.column("scheduled_ns"), strict=True)
    assert any(arrival < 2_900_000_000 < scheduled for arrival, scheduled in pairs)


def test_live_migration_evens_out_loads(tmp_path: Path) -> None:
    """With one policy that fills the first replica, rebalancing moves requests; everything finishes with all tokens."""
    evidence = run(
        tmp_path,
        "{kind: slow, replicas: [0], at_s: 1, duration_s: 5, factor: 6}",
        "router.policy=round_robin",
        "router.migration={limit: 5, rebalance: {period_s: 0.1, threshold: 3, max_moves: 2}}",
    )
    assert counts(evidence) == {("finished", ""): 150}
    assert sum(evidence.column("retries")) > 5
    assert evidence.column("generated_tokens") == evidence.column("output_tokens")


def test_faults_without_effect_and_targets_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    """The message begins with the path of the key."""
    for fault, message in (
        ("{kind: crash, replicas: [0, 7], at_s: 1}", "faults.0.replicas.1: there is no replica 7"),
        ("{kind: link_degraded, pool: main, at_s: 1}", "faults.0.kind: no cache is handed over"),
    ):
        with pytest.raises(InputError, match=message):
            make_plan(small_study(tmp_path, f"faults=[{fault}]"))


def test_closed_loops_go_on_after_failures(tmp_path: Path) -> None:
    """Users whose requests fail send the next one; random faults, retries, queues and a run that ends early."""
    lengths = "{prompt: {kind: fixed, value: 200}, output: {kind: fixed, value: 40}}"
    think = "think_time_s: {kind: fixed, value: 0.05}"
    workload = f"{{kind: closed_loop, users: 12, count: 150, {think}, lengths: {lengths}}}"
    evidence = equal_everywhere(
        small_study(
            tmp_path,
            f"faults=[{DRAWN}]",
            RETRIES,
            f"workload={workload}",
            "admission={detector: {kind: concurrency, max_requests: 4}, queue: {time_to_live_s: 0.5}}",
            "run.end_s=6",
        )
    )
    assert counts(evidence)["finished", ""] > 20
