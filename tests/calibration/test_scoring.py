"""The scoreboard's arithmetic, on figures worked out by hand."""

import numpy as np
import pytest

from cluster_sim.calibration.case import WHOLE_RUN, Case, Requests
from cluster_sim.calibration.measure import figures, percentage_error
from cluster_sim.calibration.scoring import group_mean, once, overall, peer_summary, score, scoreboard


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


def test_time_per_output_token_counts_generated_tokens():
    """TPOT is (E2E - TTFT) / (n - 1): 0.1 s to the first of 11 tokens and 1.1 s in all give 0.1 s."""
    found = figures(np.array([0.1]), np.array([1.1]), np.array([0.0]), np.array([11]), np.array([0]))
    assert found[WHOLE_RUN, "tpot_mean"] == pytest.approx(0.1)
    assert found[WHOLE_RUN, "e2e_mean"] == pytest.approx(1.1)


def test_unfinished_requests_count_in_the_rate_only():
    """A request without an end is in no mean; the rate runs from the first sending to the last completion."""
    found = figures(
        np.array([0.5, np.nan]), np.array([2.0, np.nan]), np.array([1.0, 0.0]), np.array([5, 5]), np.array([0, 0])
    )
    assert found[WHOLE_RUN, "ttft_mean"] == 0.5
    assert found[WHOLE_RUN, "requests_per_s"] == pytest.approx(1 / 3.0)
    assert found[WHOLE_RUN, "tokens_per_s"] == pytest.approx(5 / 3.0)


def test_stages_are_figures_of_their_own():
    """Each load stage has its means beside those of the whole run."""
    ttft = np.array([0.1, 0.3])
    found = figures(ttft, ttft + 1, np.array([0.0, 10.0]), np.array([2, 2]), np.array([0, 1]), (0, 1))
    assert found[0, "ttft_mean"] == pytest.approx(0.1)
    assert found[1, "ttft_mean"] == pytest.approx(0.3)
    assert found[WHOLE_RUN, "ttft_mean"] == pytest.approx(0.2)


def test_one_token_has_no_time_per_token():
    """A request of one output token has E2E but no TPOT."""
    found = figures(np.array([0.1]), np.array([0.1]), np.array([0.0]), np.array([1]), np.array([0]))
    assert (WHOLE_RUN, "tpot_mean") not in found
    assert found[WHOLE_RUN, "e2e_mean"] == pytest.approx(0.1)


def test_percentage_error_is_of_the_measurement():
    """1.2 simulated against 1.0 measured is 20 %, and 0.8 too."""
    assert percentage_error(1.2, 1.0) == pytest.approx(20)
    assert percentage_error(0.8, 1.0) == pytest.approx(20)


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
    assert [score.error for score in once(scores)] == [pytest.approx(10)]
    assert overall(scores)["e2e"] == pytest.approx(10)


def test_overloaded_runs_show_throughput_only():
    """A run whose client gave up is scored by its rates, and is not in the overall figures."""
    case = make_case("o", {"e2e_mean": 1.0, "requests_per_s": 2.0}, is_overloaded=True)
    scores = score(case, simulated(e2e_mean=5.0, requests_per_s=2.1))
    assert [score.metric for score in scores] == ["requests_per_s"]
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
