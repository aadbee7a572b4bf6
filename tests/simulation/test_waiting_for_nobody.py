"""Requests that wait at the router although no replica takes any."""

from pathlib import Path

import pytest

from cluster_sim.errors import UnfinishedError
from tests.equality import equal_everywhere
from tests.small_run import run_small, small_study

NOBODY = (
    "fleet.pools.0.replicas=1",
    "workload.count=3",
    "admission={detector: {kind: concurrency}}",
    "faults=[{kind: crash, replicas: [0], at_s: 0.001, is_permanent: true}]",
    "router.health={period_s: 0.005, timeout_s: 0.001, failure_threshold: 1}",
    "autoscaler={kind: knative, max_replicas: 1}",
)
CRASH = (
    "fleet.pools.0.replicas=1",
    "faults=[{kind: crash, replicas: [0], at_s: 2, duration_s: 2}]",
    "admission={detector: {kind: utilization, stale_after_ms: 100}}",
)


def test_a_run_in_which_everything_waits_is_given_up(tmp_path: Path) -> None:
    """A replica that never comes back leaves requests waiting: the run ends although a scaler looks on for ever."""
    with pytest.raises(UnfinishedError, match=r"and 3 wait at the router, .* \(run\.stall_limit_s\)"):
        run_small(tmp_path, *NOBODY, "run.stall_limit_s=5")


def test_requests_wait_while_a_replica_answers_no_scrape(tmp_path: Path) -> None:
    """A replica that is away from 2 to 4 s is stale from 2.1 s on: what arrives then waits, and is served after 4 s;
    what it had, and what came before, fails.
    """
    rows = equal_everywhere(small_study(tmp_path, *CRASH, "run.event_trace=true", "run.executor=inline"))
    failed = [
        arrival for arrival, reason in zip(rows.column("arrival_ns"), rows.column("reason"), strict=True) if reason
    ]
    assert failed
    assert max(failed) < 2_102_000_000
