"""A run that loses requests: its verdict, and what it says about them."""

from pathlib import Path
from typing import Any

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions


def run(folder: Path, **blocks: Any) -> dict[str, Any]:
    """One replica that serves one request a second; three a second arrive."""
    workload = {
        "kind": "synthetic",
        "count": 300,
        "arrivals": {"kind": "constant", "request_rate": 3.0},
        "lengths": {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 10}},
    }
    engine = {"kind": "vllm_v1", "max_num_seqs": 1, "async_scheduling": False}
    study = Study.model_validate(
        {
            "workload": workload,
            "fleet": {
                "pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": engine}],
                "network": {"router_to_replica_ms": 0.0, "replica_to_router_ms": 0.0},
            },
            "router": {"policy": "round_robin"},
            "predictor": {"kind": "linear", "alpha_us": 100_000.0},
            **blocks,
        }
    )
    return run_study(study, RunOptions(executor="inline", out=folder / "run")).summary


def test_a_run_whose_clients_give_up_meets_nothing(tmp_path: Path) -> None:
    """Clients give up after 2 s, and every limit lies above what the few that finished took: it is missed all the same.

    The last line of the summary's warnings tells why.
    """
    router = {"policy": "round_robin", "client_timeout_s": 2.0}
    summary = run(tmp_path, router=router, slo={"ttft_p99_s": 2.0, "e2e_p99_s": 2.5})
    cancelled = summary["requests"]["cancelled"]
    assert cancelled == 298
    assert summary["ttft_s"]["max"] < 2.0
    slo = summary["slo"]
    assert (slo["verdict"], slo["is_met"]) == ("missed", False)
    assert [(limit["value_s"], limit["lost"]) for limit in slo["limits"]] == [(None, cancelled)] * 2
    assert slo["good_requests_ratio"] == summary["requests"]["finished"] / 300
    assert summary["warnings"][0] == (
        f"{cancelled} of 300 requests were lost (client gave up: {cancelled}); they count as worse than any limit."
    )


def test_a_run_that_ends_early_misses_what_was_passed(tmp_path: Path) -> None:
    """At 20 s, 59 requests have come, at k / 3 s: those up to the 44th have waited 5 s, those after it are left out."""
    summary = run(tmp_path, slo={"ttft_p99_s": 5.0}, run={"end_s": 20.0})
    (limit,) = summary["slo"]["limits"]
    assert (limit["lost"], limit["is_met"]) == (0, False)
    unfinished = summary["requests"]["unfinished"]
    assert limit["cut_off_passed"] + limit["cut_off_left_out"] == unfinished
    assert limit["cut_off_left_out"] == 59 - 44
    assert not any("lost" in warning for warning in summary["warnings"])
