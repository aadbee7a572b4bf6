"""Reports of a plan on the terminal and as a page."""

import io
from typing import Any

import pytest
from rich.console import Console

from cluster_sim.report.plan_page import plan_page
from cluster_sim.report.plan_report import load_line, print_plan


def entry(label: str, gpus: int, verdict: str, value_s: float, **rest: Any) -> dict[str, Any]:
    return {
        "fleet": label,
        "device": "h100-sxm",
        "gpus": gpus,
        "mean_gpus": float(gpus),
        "most_gpus": gpus,
        "max_replicas": None,
        "nodes_per_replica": 1,
        "usd_per_hour": 2.99 * gpus,
        "verdict": verdict,
        "runs": 5,
        "warm_up_s": 0.0,
        "whole_run_misses": [],
        "has_error_band": True,
        "reason": None if verdict == "met" else "TPOT p99 too high",
        "limits": [
            {
                "name": "tpot_p99_s",
                "limit_s": 0.06,
                "value_s": value_s,
                "low_s": value_s * 0.9,
                "high_s": value_s * 1.1,
                "verdict": verdict,
            }
        ],
        "output_tokens_per_s_per_gpu": 1000.0 / gpus,
        "output_tokens_per_s_per_user": 1 / value_s,
        "usd_per_million_output_tokens": 4.0,
        "mean_power_w": 900.0,
        "j_per_output_token": 3.0,
        **rest,
    }


@pytest.fixture
def plan() -> dict[str, Any]:
    """A plan with an answer, a runner-up, a smaller fleet and layouts that were not simulated."""
    best, second = entry("5 replicas", 20, "met", 0.045), entry("3 <replicas>", 24, "met", 0.04)
    smaller = entry("4 replicas", 16, "too_close", 0.062)
    layout = {"layout": "2 x h100-sxm", "state": "does_not_fit", "reason": "no room", "estimated_usd_per_hour": None}
    return {
        "name": "test",
        "version": "1",
        "load": {
            "users": None,
            "sessions": None,
            "sessions_per_s": None,
            "requests": 1000,
            "requests_per_s": 10.0,
            "peak_requests_per_s": 20.0,
            "waits_for_fleet": False,
            "mean_prompt_tokens": 1000.0,
            "mean_output_tokens": 200.0,
        },
        "limits": {"tpot_p99_s": 0.06},
        "is_complete": True,
        "runs": 20,
        "answer": best,
        "runner_up": second,
        "one_replica_fewer": smaller,
        "too_close": smaller,
        "other_scaling": None,
        "disaggregated": entry("2 prefill + 2 decode", 16, "met", 0.03),
        "other_loads": [
            {"load": "20% more load", "fleet": entry("6 replicas", 24, "met", 0.05), "remark": None},
            {"load": "prompts 20% longer", "fleet": None, "remark": "time ran out"},
        ],
        "candidates": [smaller, best, second],
        "layouts": [layout],
    }


def printed(plan: dict[str, Any]) -> list[str]:
    stream = io.StringIO()
    print_plan(Console(file=stream, width=1000), plan, [("Each replica", "vllm serve model")], "plans/test")
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_last_line_names_gpus_and_price(plan: dict[str, Any]) -> None:
    """The screen ends with the answer; before it stand the runner-up, the smaller fleet and other loads."""
    lines = printed(plan)
    assert lines[-1] == "20 x h100-sxm GPUs at 59.80 USD an hour: 5 replicas"
    text = "\n".join(lines)
    assert "Runner-up: 3 <replicas>, 24 GPUs, 71.76 USD an hour: TPOT p99 40 ms (36 ms-44 ms), 5 runs" in text
    assert "One replica fewer is too close to call: 4 replicas, 47.84 USD/h: TPOT p99 too high" in text
    assert "With 20% more load: 6 replicas, 24 GPUs, 71.76 USD an hour (one run)" in text
    assert "With prompts 20% longer: time ran out" in text
    assert "Cheaper with prefill apart: 2 prefill + 2 decode" in text
    assert "2 x h100-sxm: does not fit: no room" in text
    assert "vllm serve model" in text
    assert "The time limit" not in text


def test_the_last_line_of_one_gpu(plan: dict[str, Any]) -> None:
    """One GPU is no GPUs."""
    plan["answer"] = entry("1 replica", 1, "met", 0.05)
    assert printed(plan)[-1] == "1 x h100-sxm GPU at 2.99 USD an hour: 1 replica"


def test_replicas_over_several_nodes_are_named(plan: dict[str, Any]) -> None:
    """An answer whose replicas span two nodes says so; one whose replicas fit into a node does not speak of nodes."""
    assert "nodes" not in "".join(printed(plan))
    plan["answer"] = entry("1 replica", 16, "met", 0.05, nodes_per_replica=2)
    line = "  Each replica spans 2 nodes, whose GPUs reach each other by the network."
    assert line in printed(plan)
    assert line.strip() in plan_page(plan, [])


@pytest.mark.parametrize(("runs", "is_said"), [(2, True), (4, True), (5, False)])
def test_intervals_after_few_runs_are_said_to_be_wide(plan: dict[str, Any], runs: int, is_said: bool) -> None:
    """With two runs Student's t is 12.7, so that the interval says more of their number than of the fleet."""
    plan["answer"] |= {"runs": runs}
    assert any(f"  Intervals after {runs} runs are wide" in line for line in printed(plan)) is is_said


def test_an_unfinished_search_says_so(plan: dict[str, Any]) -> None:
    """If the time ended the search, the answer says that a cheaper fleet is not ruled out."""
    plan["is_complete"] = False
    plan["answer"]["has_error_band"] = False
    lines = printed(plan)
    assert any(line.startswith("The time limit ended the search") for line in lines)
    assert any("the predictor's error is unknown" in line for line in lines)


def test_gpus_of_an_autoscaled_fleet_are_those_of_its_runs(plan: dict[str, Any]) -> None:
    """Mean and most GPUs stand in the table, in the answer and on the last line; the fixed fleet is named beside it."""
    scaled = {"mean_gpus": 13.25, "most_gpus": 24, "max_replicas": 10, "usd_per_hour": 2.99 * 13.25}
    plan["other_scaling"] = plan["answer"]
    plan["answer"] = entry("2 to 10 replicas, autoscaled", 40, "met", 0.05, **scaled)
    plan["candidates"].append(plan["answer"])
    lines = printed(plan)
    assert lines[-1] == (
        "13.2 x h100-sxm GPUs on average (24 at most) at 39.62 USD an hour: 2 to 10 replicas, autoscaled"
    )
    text = "\n".join(lines)
    assert "Best: 2 to 10 replicas, autoscaled, 13.2 GPUs on average, 24 at most, 39.62 USD an hour: TPOT" in text
    assert "Without the autoscaler: 5 replicas, 20 GPUs, 59.80 USD an hour: TPOT" in text
    assert "13.2 (most 24)" in text
    assert "13.2 (most 24)" in plan_page(plan, [])
    plan["answer"], plan["other_scaling"] = plan["other_scaling"], plan["answer"] | {"verdict": "missed"}
    assert any(
        line.startswith("With the autoscaler: 2 to 10 replicas") and line.endswith(", missed") for line in printed(plan)
    )


def test_users_and_sessions_begin_the_line_of_the_load(plan: dict[str, Any]) -> None:
    """What the load is counted in stands first; requests alone have their rate."""
    words = "1,000 requests of 1,000 prompt and 200 output tokens on average"
    limit = "; TPOT p99 at most 60 ms"
    assert load_line(plan) == f"{words}, 10.00 a second (busiest 20.00){limit}"
    plan["load"]["users"] = 200
    assert load_line(plan) == f"200 users: {words}{limit}"
    plan["load"] |= {"users": None, "sessions": 1, "sessions_per_s": None}
    assert load_line(plan) == f"1 session: {words}{limit}"
    plan["load"] |= {"sessions": 300, "sessions_per_s": 2.0}
    assert load_line(plan) == f"300 sessions, 2.00 a second: {words}{limit}"


def test_the_page_has_everything_and_escapes_it(plan: dict[str, Any]) -> None:
    """The page has the answer, the picture, every fleet and layout, and the commands, as text."""
    page = plan_page(plan, [("Each replica", "vllm serve <model>")])
    for text in ("20 x h100-sxm GPUs at 59.80 USD an hour", "Pareto front", "no room", "vllm serve &lt;model&gt;"):
        assert text in page
    assert "3 &lt;replicas&gt;" in page
    assert "<replicas>" not in page
    assert "http://" not in page
    assert "https://" not in page
