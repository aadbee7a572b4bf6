"""The scoreboard's arithmetic, on figures worked out by hand."""

import numpy as np
import pytest

from cluster_sim.calibration.case import WHOLE_RUN, Case, Requests
from validation.scoring import group_mean, once, overall, peer_summary, score, scoreboard


def make_case(run, measured, *, dataset="blis-vllm015-aggregates", workload="chat", tensor_parallel=1, **changes):
    one = np.ones(1, np.int64)
    requests = Requests(np.zeros(1), one, one, np.zeros(1, np.int64))
    return Case(
        dataset=dataset,
        run=run,
        model="m",
        device="H100",
        tensor_parallel=tensor_parallel,
        workload=workload,
        requests=requests,
        engine={},
        measured={(WHOLE_RUN, name): value for name, value in measured.items()},
        **changes,
    )


def simulated(**values):
    return {(WHOLE_RUN, name): value for name, value in values.items()}


def test_groups_come_before_runs():
    """Three runs of one configuration with 10 % and one of another with 30 % give 20 %, not 15 %."""
    scores = []
    for number in range(3):
        scores += score(make_case(f"a{number}", {"e2e_mean": 1.0}), simulated(e2e_mean=1.1))
    scores += score(make_case("b", {"e2e_mean": 1.0}, tensor_parallel=2), simulated(e2e_mean=1.3))
    value, groups = group_mean(scores)
    assert value == pytest.approx(20)
    assert groups == 2


def test_a_run_in_two_folders_counts_once():
    """Two appearances of a fold are one score of each metric."""
    first = make_case("requests", {"e2e_mean": 1.0}, fold="x", dataset="blis-vllm015-h100-requests")
    second = make_case("summary", {"e2e_mean": 1.0}, fold="x")
    scores = score(first, simulated(e2e_mean=1.1)) + score(second, simulated(e2e_mean=1.3))
    assert [figure.error for figure in once(scores)] == [pytest.approx(10)]
    assert overall(scores)["e2e"] == pytest.approx(10)


def test_overloaded_runs_show_throughput_only():
    """A run whose client gave up is scored by its rates, and is not in the overall figures."""
    case = make_case("o", {"e2e_mean": 1.0, "requests_per_s": 2.0}, is_overloaded=True)
    scores = score(case, simulated(e2e_mean=5.0, requests_per_s=2.1))
    assert [figure.metric for figure in scores] == ["requests_per_s"]
    assert overall(scores) == {"e2e": None, "tpot": None, "ttft": None}


def test_overall_is_over_the_campaign_alone():
    """Other data sets do not enter the overall figures."""
    mine = score(make_case("a", {"ttft_mean": 1.0}), simulated(ttft_mean=1.05))
    other = score(make_case("b", {"ttft_mean": 1.0}, dataset="apex-vllm060-8xh100"), simulated(ttft_mean=9.0))
    result = scoreboard(mine + other)
    assert result["overall"]["ttft"] == pytest.approx(5)
    assert result["datasets"]["apex-vllm060-8xh100"]["ttft_mean"] == pytest.approx(800)
    assert {"dataset", "run", "metric", "measured", "simulated", "error"} == set(result["runs"][0])


def test_peers_are_averaged_as_we_are():
    """A peer's errors go over groups too."""
    cases = [
        make_case("a", {}, peers={"p": {(WHOLE_RUN, "e2e_mean"): 10.0}}),
        make_case("a2", {}, peers={"p": {(WHOLE_RUN, "e2e_mean"): 20.0}}),
        make_case("b", {}, tensor_parallel=4, peers={"p": {(WHOLE_RUN, "e2e_mean"): 5.0}}),
    ]
    assert peer_summary(cases)["blis-vllm015-aggregates"]["p"] == {"e2e_mean": pytest.approx(10.0), "n": 2.0}
