"""The measured window of a run: what the summary covers, and what it says about the whole run."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.schema.measurement import Phase
from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.window import PhaseRule, WindowRule
from cluster_sim.simulation.measurement import window_rule
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

STUDY: dict[str, Any] = {
    "workload": {
        "kind": "synthetic",
        "count": 100,
        "arrivals": {"kind": "constant", "request_rate": 10.0},
        "lengths": {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 10}},
    },
    "fleet": {
        "pools": [
            {"model": "llama-3-8b", "device": "h100-sxm", "engine": {"kind": "vllm_v1", "async_scheduling": False}}
        ],
        "network": {"router_to_replica_ms": 0.0, "replica_to_router_ms": 0.0},
    },
    "router": {"policy": "round_robin"},
    "predictor": {"kind": "linear", "alpha_us": 10_000.0},
    "slo": {"ttft_p99_s": 1.0},
}
"""Request k arrives at k / 10 s, from 0.1 on, and takes 0.1 s, so that it is alone: ten tokens at 10 ms each."""


def study_of(run: dict[str, Any], **blocks: Any) -> Study:
    return Study.model_validate({**STUDY, **blocks, "run": run})


def summary_of(folder: Path, run: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    result = run_study(study_of(run, **blocks), RunOptions(executor="inline", out=folder / "run", needs_service=False))
    assert (
        pq.ParquetFile(result.directory / "requests.parquet").metadata.num_rows
        == result.summary["whole_run"]["requests"]["total"]
    )
    return result.summary


def test_a_window_by_time(tmp_path: Path) -> None:
    """From 2.05 s for 3 s: 30 requests arrive, 2.1 to 5.0 s; 30 finish, 2.1 to 5.0 s, and 300 tokens come.

    The GPU is paid for these 3 s.
    """
    phases = {"warmup": {"kind": "time", "duration_s": 2.05}, "measure": {"kind": "time", "duration_s": 3.0}}
    summary = summary_of(tmp_path, phases)
    assert summary["window"] == {"start_s": 2.05, "end_s": 5.05, "warmup": "time", "measure": "time"}
    assert summary["requests"]["finished"] == summary["e2e_s"]["count"] == 30
    # 5 tokens of the request that arrived at 2.0 s, and 5 of the one of 5.0 s, are the window's too.
    assert summary["throughput"] == {
        "requests_per_s": pytest.approx(10.0),
        "output_tokens_per_s": pytest.approx(100.0),
        "total_tokens_per_s": pytest.approx(260.0),
    }
    assert summary["gpu_hours"] == pytest.approx(3 / 3600)
    whole = summary["whole_run"]
    assert whole["requests"]["finished"] == 100
    assert whole["throughput"]["output_tokens_per_s"] == pytest.approx(1000 / 10.1)
    assert summary["simulated_s"] == pytest.approx(10.1)
    assert summary["slo"]["limits"][0]["requests"] == 30


def test_a_window_by_requests(tmp_path: Path) -> None:
    """Without the first 20 and for 50: requests 20 to 69, which arrive from 2.1 to 7.0 s."""
    phases = {"warmup": {"kind": "requests", "requests": 20}, "measure": {"kind": "requests", "requests": 50}}
    summary = summary_of(tmp_path, phases)
    assert (summary["window"]["start_s"], summary["window"]["end_s"]) == pytest.approx((2.1, 7.1))
    assert summary["requests"]["total"] == 50


def test_none_is_the_whole_run(tmp_path: Path) -> None:
    """Nothing is left out, and ``whole_run`` says the same."""
    summary = summary_of(tmp_path, {"warmup": {"kind": "none"}})
    assert summary["window"] == {"start_s": 0.0, "end_s": summary["simulated_s"], "warmup": "none", "measure": "none"}
    assert summary["whole_run"] == {key: summary[key] for key in summary["whole_run"]}
    assert summary["requests"]["total"] == 100


def test_auto_leaves_out_how_the_fleet_fills_and_runs_dry(tmp_path: Path) -> None:
    """Long requests at a rate that a replica sustains: the first see an empty fleet.  What is left out lies before the
    steady part and after the last arrival, and the throughput is the arrival rate.
    """
    lengths = {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 400}}
    workload = STUDY["workload"] | {"count": 1500, "lengths": lengths}
    predictor = {"kind": "linear", "alpha_us": 5000.0, "beta_us": 100.0}
    summary = summary_of(tmp_path, {}, workload=workload, predictor=predictor)
    window, whole = summary["window"], summary["whole_run"]
    assert (window["warmup"], window["measure"]) == ("auto", "auto")
    assert 0 < window["start_s"] < 15
    assert window["end_s"] == pytest.approx(150.0)
    assert summary["is_steady_state"] is True
    assert summary["throughput"]["requests_per_s"] == pytest.approx(10.0, rel=0.01)
    assert whole["throughput"]["requests_per_s"] < 9.9
    assert summary["e2e_s"]["mean"] > whole["e2e_s"]["mean"]


def test_a_burst_is_measured_to_its_end(tmp_path: Path) -> None:
    """A hundred requests at one instant, ten steps of 10 ms for all: 1,000 a second."""
    workload = STUDY["workload"] | {"arrivals": {"kind": "constant", "request_rate": float("inf")}}
    summary = summary_of(tmp_path, {}, workload=workload)
    assert summary["window"]["end_s"] == pytest.approx(summary["simulated_s"])
    assert summary["simulated_s"] == pytest.approx(0.1)
    assert summary["throughput"]["requests_per_s"] == pytest.approx(1000.0)
    assert summary["throughput"]["output_tokens_per_s"] == pytest.approx(10_000.0)


@pytest.mark.parametrize("count", [1, 100])
def test_requests_that_are_refused_in_the_last_instant_are_measured(tmp_path: Path, count: int) -> None:
    """Nobody serves 26 tokens in a context of 20: the run ends as its last request comes, and all of them count."""
    engine = {"kind": "vllm_v1", "max_model_len": 20}
    fleet = STUDY["fleet"] | {"pools": [STUDY["fleet"]["pools"][0] | {"engine": engine}]}
    summary = summary_of(tmp_path, {}, workload=STUDY["workload"] | {"count": count}, fleet=fleet)
    assert summary["simulated_s"] == pytest.approx(count / 10)
    assert (summary["requests"]["refused"], summary["requests"]["total"]) == (count, count)


def test_the_last_completion_is_measured(tmp_path: Path) -> None:
    """From 2.05 s to the end at 10.1 s: 81 finish, from 2.1 s on; of the first of them 6 tokens come, 2.05 to 2.1 s."""
    summary = summary_of(tmp_path, {"warmup": {"kind": "time", "duration_s": 2.05}})
    assert summary["requests"]["total"] == 80
    assert summary["throughput"]["requests_per_s"] == pytest.approx(81 / 8.05)
    assert summary["throughput"]["output_tokens_per_s"] == pytest.approx(806 / 8.05)


def test_an_overloaded_run_is_not_in_steady_state(tmp_path: Path) -> None:
    """One request at a time, 0.1 s each, and 20 a second: the queue grows to the end, and the run says so."""
    workload = STUDY["workload"] | {"count": 300, "arrivals": {"kind": "constant", "request_rate": 20.0}}
    engine = {"kind": "vllm_v1", "async_scheduling": False, "max_num_seqs": 1}
    fleet = STUDY["fleet"] | {"pools": [STUDY["fleet"]["pools"][0] | {"engine": engine}]}
    summary = summary_of(tmp_path, {}, workload=workload, fleet=fleet)
    assert summary["is_steady_state"] is False
    assert any("not in steady state" in warning for warning in summary["warnings"])
    # Neither more nor less than it can serve, however many requests come.
    assert summary["throughput"]["requests_per_s"] == pytest.approx(10.0, rel=0.02)


AUTO = WindowRule(PhaseRule("auto"), PhaseRule("auto"))
THINKING = {"kind": "fixed", "value": 1}
CLOSED = {"kind": "closed_loop", "users": 2, "count": 50, "think_time_s": THINKING}
CLOSED |= {"lengths": STUDY["workload"]["lengths"]}
STATES = [{"request_rate": 1, "mean_stay_s": 5}, {"request_rate": 3, "mean_stay_s": 5}]


@pytest.mark.parametrize(
    ("arrivals", "rule"),
    [
        ({"kind": "poisson", "request_rate": 5}, AUTO),
        ({"kind": "weibull", "request_rate": 5, "shape": 0.7}, AUTO),
        ({"kind": "gamma", "request_rate": 5}, AUTO),
        (
            {
                "kind": "gamma",
                "request_rate": 5,
                "ramp_up_strategy": "linear",
                "ramp_up_start_rps": 1,
                "ramp_up_end_rps": 9,
            },
            WindowRule(),
        ),
        ({"kind": "step", "request_rate": 40, "steps": [{"at_s": 25, "request_rate": 6}]}, WindowRule()),
        ({"kind": "ramp", "start_rate": 40, "end_rate": 6, "ramp_s": 25}, WindowRule()),
        ({"kind": "spike", "request_rate": 6, "spike_rate": 40, "at_s": 0, "spike_s": 25}, WindowRule()),
        ({"kind": "sinusoidal", "request_rate": 6, "amplitude": 0.8, "period_s": 60}, WindowRule()),
        ({"kind": "mmpp", "states": STATES}, WindowRule()),
    ],
)
def test_a_load_that_changes_is_measured_whole(arrivals: dict[str, Any], rule: WindowRule) -> None:
    """The warm-up of arrivals of one rate is searched; a change of the rate is the user's, and is never left out."""
    workload = STUDY["workload"] | {"arrivals": arrivals}
    assert window_rule(study_of({}, workload=workload)) == rule
    asked = study_of({"warmup": {"kind": "auto"}}, workload=workload)
    assert window_rule(asked) == AUTO


def part(count: int, rate: float) -> dict[str, Any]:
    return STUDY["workload"] | {"count": count, "arrivals": {"kind": "constant", "request_rate": rate}}


@pytest.mark.parametrize(("limit_s", "warns"), [(1.0, True), (2.0, False)])
def test_what_a_warm_up_hides_is_said(tmp_path: Path, limit_s: float, warns: bool) -> None:
    """Twenty requests at once and one a second from 6 s on, served one at a time in 0.1 s: request k of the burst has
    its first token after 0.1 k + 0.01 s, the others after 0.01 s.

    Of all hundred the 99th percentile is 1.81 + 0.01 x 0.1 = 1.811 s (rank 98.01), of those from 6 s on 10 ms.
    """
    phases = [{"duration_s": 5, "workload": part(20, float("inf"))}, {"duration_s": 90, "workload": part(80, 1.0)}]
    engine = {"kind": "vllm_v1", "async_scheduling": False, "max_num_seqs": 1}
    blocks = {
        "workload": {"kind": "phases", "phases": phases},
        "fleet": STUDY["fleet"] | {"pools": [STUDY["fleet"]["pools"][0] | {"engine": engine}]},
        "slo": {"ttft_p99_s": limit_s},
    }
    summary = summary_of(tmp_path, {"warmup": {"kind": "requests", "requests": 20}}, **blocks)
    assert summary["slo"]["limits"][0]["value_s"] == pytest.approx(0.01)
    assert summary["whole_run"]["slo"]["limits"][0]["value_s"] == pytest.approx(1.811)
    said = [warning for warning in summary["warnings"] if "whole run" in warning]
    words = "the measured part, from 6 s to 85.1 s, keeps to (TTFT p99 1.81 s, limit 1 s)"
    assert [words in warning for warning in said] == ([True] if warns else [])
    whole = summary_of(tmp_path / "whole", {}, **blocks)
    assert whole["slo"]["limits"][0]["value_s"] == pytest.approx(1.811)
    assert not any("whole run" in warning for warning in whole["warnings"])


def test_what_the_end_of_the_measured_part_hides_is_said(tmp_path: Path) -> None:
    """One request a second up to 79 s, and twenty at once at 80 s, of which the last waits 1.91 s; 79 s count."""
    phases = [{"duration_s": 80, "workload": part(80, 1.0)}, {"duration_s": 5, "workload": part(20, float("inf"))}]
    engine = {"kind": "vllm_v1", "async_scheduling": False, "max_num_seqs": 1}
    summary = summary_of(
        tmp_path,
        {"measure": {"kind": "time", "duration_s": 79.0}},
        workload={"kind": "phases", "phases": phases},
        fleet=STUDY["fleet"] | {"pools": [STUDY["fleet"]["pools"][0] | {"engine": engine}]},
        slo={"ttft_p99_s": 1.0},
    )
    (said,) = (warning for warning in summary["warnings"] if "whole run" in warning)
    assert "the measured part, from 0 s to 79 s, keeps to (TTFT p99 1.81 s, limit 1 s)" in said
    assert "run.measure" in said


@pytest.mark.parametrize(
    ("run", "workload", "rule"),
    [
        ({}, STUDY["workload"], AUTO),
        ({}, CLOSED, AUTO),
        ({"end_s": 5.0}, STUDY["workload"], WindowRule()),
        ({}, STUDY["workload"] | {"count": None, "duration_s": 5.0}, WindowRule()),
        ({"warmup": {"kind": "none"}}, STUDY["workload"], WindowRule()),
        ({"measure": {"kind": "none"}}, STUDY["workload"], WindowRule(PhaseRule("auto"))),
        (
            {"end_s": 9.0, "warmup": {"kind": "time", "duration_s": 2.0}},
            STUDY["workload"],
            WindowRule(PhaseRule("time", 2_000_000_000)),
        ),
    ],
)
def test_defaults(run: dict[str, Any], workload: dict[str, Any], rule: WindowRule) -> None:
    """Workloads of a fixed count are measured from the end of their warm-up to the last arrival, others as they are."""
    assert window_rule(study_of(run, workload=workload)) == rule


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"kind": "time"}, "kind time needs duration_s"),
        ({"kind": "requests", "duration_s": 3.0}, "duration_s belongs to kind time; this one is requests"),
        ({"kind": "auto", "requests": 3}, "requests belongs to kind requests; this one is auto"),
    ],
)
def test_phases_that_do_not_fit_are_refused(phase: dict[str, Any], message: str) -> None:
    """A length that is missing, or that another kind has, is wrong input."""
    with pytest.raises(ValidationError, match=message):
        Phase.model_validate(phase)


def test_the_window_counts_in_the_configuration_hash() -> None:
    """It changes the summary; a study that says nothing keeps the hash that it had."""
    plain = study_of({})
    assert config_hash(plain) != config_hash(study_of({"warmup": {"kind": "none"}}))
    assert config_hash(plain) == config_hash(study_of({"macro_steps": False}))
