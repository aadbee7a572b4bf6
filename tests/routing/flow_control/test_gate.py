"""Flow control in whole runs: conservation, limits, and equality in every executor."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.simulation.plan import make_plan
from tests.equality import equal_everywhere
from tests.evidence import Evidence
from tests.small_run import small_study

CONCURRENCY = "detector: {kind: concurrency, max_requests: 4}"
SGLANG = "detector: {kind: total_concurrency, max_requests: 6}, queue: {max_requests: 10, time_to_live_s: 0.4}"


def counts(evidence: Evidence) -> dict[tuple[str, str], int]:
    """Return the requests by status and reason."""
    found: dict[tuple[str, str], int] = {}
    for status, reason in zip(evidence.column("status"), evidence.column("reason"), strict=True):
        key = STATUSES[status], REASONS[reason]
        found[key] = found.get(key, 0) + 1
    return found


def run(folder: Path, admission: str, *overrides: str) -> Evidence:
    return equal_everywhere(small_study(folder, f"admission={{{admission}}}", *overrides))


def most_in_flight(evidence: Evidence) -> int:
    """Return the most requests between dispatch and end, at the router."""
    times: list[tuple[int, int]] = []
    for dispatch_ns, finish_ns in zip(evidence.column("dispatch_ns"), evidence.column("finish_ns"), strict=True):
        if dispatch_ns >= 0:
            times += [(dispatch_ns, 1), (finish_ns, -1)]
    level = most = 0
    for _, change in sorted(times):
        level += change
        most = max(most, level)
    return most


def test_requests_wait_for_room_and_all_are_served(tmp_path: Path) -> None:
    """At most four requests at each of two replicas; the queue has no limit, so all finish."""
    evidence = run(tmp_path, CONCURRENCY)
    assert counts(evidence) == {("finished", ""): 150}
    assert most_in_flight(evidence) == 8
    waits = [d - a for d, a in zip(evidence.column("dispatch_ns"), evidence.column("arrival_ns"), strict=True)]
    assert max(waits) > 0


def test_a_full_queue_and_old_requests_are_turned_away(tmp_path: Path) -> None:
    """With SGLang's kind of limits some find the queue full and some wait too long; nothing is lost."""
    found = counts(run(tmp_path, SGLANG, "workload.arrivals.request_rate=60"))
    assert sum(found.values()) == 150
    assert set(found) == {("finished", ""), ("shed", "queue_full"), ("shed", "queue_timeout")}


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_waiting"])
def test_utilization_reads_samples(tmp_path: Path, policy: str) -> None:
    """With scrapes each 50 ms requests wait until the queues of the replicas are short again."""
    evidence = run(
        tmp_path,
        "detector: {kind: utilization, queue_depth_threshold: 1}",
        "workload.arrivals.request_rate=60",
        f"router.policy={policy}",
        "fleet.pools.0.engine.max_num_seqs=8",
    )
    assert counts(evidence) == {("finished", ""): 150}
    pairs = zip(evidence.column("dispatch_ns"), evidence.column("arrival_ns"), strict=True)
    delayed = [dispatch_ns for dispatch_ns, arrival_ns in pairs if dispatch_ns > arrival_ns]
    assert delayed
    # They leave when a sample becomes visible: each 50 ms, 1 ms later.
    assert {dispatch_ns % 50_000_000 for dispatch_ns in delayed} == {1_000_000}


def test_rates_and_shedders(tmp_path: Path) -> None:
    """A rate limit, the probabilistic shedder and a limit of time to first token each turn some away."""
    admission = (
        "detector: {kind: concurrency, max_requests: 5}, rate_limits: [{requests_per_s: 20, burst_requests: 5}], "
        "shedders: [{kind: probabilistic, factor: 30, sheds_all: true}, {kind: slo_aware, targets: {ttft_s: 0.02}}]"
    )
    found = counts(run(tmp_path, admission, "workload.arrivals.request_rate=40"))
    assert sum(found.values()) == 150
    reasons = {reason for _, reason in found}
    assert {"rate_limit", "shed_saturation", "slo_unreachable"} <= reasons


@pytest.mark.parametrize("ordering", ["{kind: fcfs}", "{kind: edf}", "{kind: slo_deadline, targets: {ttft_s: 1}}"])
def test_orderings_and_fairness_with_time_outs(tmp_path: Path, ordering: str) -> None:
    """Priorities, tenants, client time-outs and a run that ends early: each request ends once, everywhere the same."""
    admission = f"{CONCURRENCY}, ordering: {ordering}, fairness: {{kind: global_strict}}, queue: {{time_to_live_s: 2}}"
    overrides = ("router.client_timeout_s=0.8", "run.end_s=2", "workload.arrivals.request_rate=60")
    found = counts(run(tmp_path, admission, *overrides))
    assert {"finished", "unfinished", "cancelled"} <= {status for status, _ in found}


def test_closed_loops_behind_a_queue(tmp_path: Path) -> None:
    """Users whose requests wait or are turned away go on; nothing is stuck."""
    workload: dict[str, Any] = {
        "kind": "closed_loop", "users": 20, "count": 100, "think_time_s": {"kind": "fixed", "value": 0.05},
        "lengths": {"prompt": {"kind": "fixed", "value": 200}, "output": {"kind": "fixed", "value": 20}},
    }  # fmt: skip
    text = str(workload).replace("'", "")
    evidence = run(tmp_path, SGLANG, f"workload={text}")
    assert len(evidence.rows) == 100


def test_a_detector_and_a_policy_read_the_same_samples(tmp_path: Path) -> None:
    """Another period than the policy's is refused with the path of the key; a policy that reads none does not care."""
    admission = "admission={detector: {kind: utilization, period_ms: 20}}"
    with pytest.raises(InputError, match=r"admission\.detector\.period_ms: 20 differs from router"):
        make_plan(small_study(tmp_path, admission, "router.policy=least_waiting")).simulation()
    make_plan(small_study(tmp_path, admission)).simulation()
