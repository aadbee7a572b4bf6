"""Plans of loads with a burst at the start: judged whole unless the study asks for a warm-up, which is then said."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.report.plan_report import answer_lines
from cluster_sim.study.planning.plan_run import run_plan
from cluster_sim.study.planning.single_run import RunTask, make_run
from tests.study.planning.plan_parts import MadeUpPool, small_study

LENGTHS = {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 10}}
ALL_AT_ONCE = float("inf")


def part(count: int, rate: float) -> dict[str, Any]:
    return {
        "kind": "synthetic",
        "count": count,
        "arrivals": {"kind": "constant", "request_rate": rate},
        "lengths": LENGTHS,
    }


def burst_study(**run: Any) -> Study:
    """Return a study of 20 requests at once and one a second from 6 s on, served one at a time in 0.1 s.

    Of n replicas each takes 20 / n of the burst, the last of which has its first token after 0.1 (20 / n - 1) + 0.01 s:
    1.91 s of one replica, 0.91 s of two.
    """
    phases = [{"duration_s": 5, "workload": part(20, ALL_AT_ONCE)}, {"duration_s": 90, "workload": part(80, 1.0)}]
    engine = {"kind": "vllm_v1", "async_scheduling": False, "max_num_seqs": 1}
    return small_study(
        workload={"kind": "phases", "phases": phases},
        predictor={"kind": "linear", "alpha_us": 10_000.0},
        fleet={
            "pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": engine}],
            "network": {"router_to_replica_ms": 0.0, "replica_to_router_ms": 0.0},
        },
        slo={"ttft_p99_s": 1.0},
        plan__tensor_parallel=[1],
        **({"run": run} if run else {}),
    )


class OwnPool(MadeUpPool):
    """A pool that makes the runs in this process."""

    def __init__(self) -> None:
        super().__init__(lambda study, number: make_run(RunTask(study, number)))


def test_a_burst_is_planned_for(tmp_path: Path) -> None:
    """One replica leaves a TTFT p99 of 1.811 s (1.81 + 0.01 x 0.1, rank 98.01 of 100), two keep to the limit of 1 s."""
    plan = run_plan(burst_study(), tmp_path / "plan", pool=OwnPool()).document
    assert plan["answer"]["replicas"] == [2]
    assert plan["answer"]["warm_up_s"] == 0.0
    fewer = plan["one_replica_fewer"]
    assert fewer["first_run"]["ttft_s.p99"] == pytest.approx(1.811)
    assert not any("whole run" in line for line in answer_lines(plan))


def test_what_an_asked_warm_up_hides_is_said(tmp_path: Path) -> None:
    """Without the burst, which the study asks to leave out, one replica meets the limit; the answer says what that
    hides.
    """
    base = burst_study(warmup={"kind": "requests", "requests": 20})
    plan = run_plan(base, tmp_path / "plan", pool=OwnPool()).document
    answer = plan["answer"]
    assert answer["replicas"] == [1]
    assert answer["limits"][0]["value_s"] == pytest.approx(0.01)
    assert answer["warm_up_s"] == pytest.approx(6.0)
    assert answer["whole_run_misses"] == [
        {"name": "ttft_p99_s", "limit_s": 1.0, "value_s": pytest.approx(1.811)},
    ]
    line = next(line for line in answer_lines(plan) if "whole run" in line)
    assert "the measured part, after a warm-up of at most 6 s, keeps to (TTFT p99 1.81 s, limit 1 s)" in line
