"""Measurements that contradict themselves are told from the others, each with its reason."""

from dataclasses import replace

import pytest

from cluster_sim.calibration.case import WHOLE_RUN
from tests.hardware.replicas import hardware
from tests.validation.test_scoring import make_case, simulated
from validation.contradictions import latency_contradiction, mark_contradictions
from validation.ground_truth import load_all
from validation.llmservingsim import known_kv_blocks
from validation.scoring import overall, score, scoreboard
from validation.silicon_contradictions import (
    Run,
    Series,
    decoding_share,
    least_step_s,
    row_contradiction,
    unequal_runs,
)

FIGURES = {"ttft_mean": 0.05, "tpot_mean": 0.02, "e2e_mean": 2.03}


def test_equal_figures_of_two_workloads_rule_both_out():
    """Equal to the last digit in two workloads: neither says which; equal in one workload, or few, they stay."""
    chat, code = make_case("a", FIGURES), make_case("b", FIGURES, workload="code")
    marked = mark_contradictions([chat, code, make_case("c", FIGURES)])
    assert [bool(case.contradiction) for case in marked] == [True, True, True]
    assert marked[0].contradiction == "the figures of a run of another workload: b, code"
    assert not any(case.contradiction for case in mark_contradictions([chat, make_case("c", FIGURES)]))
    few = [make_case("a", {"ttft_mean": 1.0}), make_case("b", {"ttft_mean": 1.0}, workload="code")]
    assert not any(case.contradiction for case in mark_contradictions(few))


def test_a_stage_that_the_workload_lacks_rules_a_run_out():
    """Figures of stage 1 where all requests are of stage 0 are of another workload."""
    case = make_case("a", FIGURES)
    (marked,) = mark_contradictions([replace(case, measured={**case.measured, (1, "ttft_mean"): 0.1})])
    assert marked.contradiction == "a load stage that the workload does not have: 1, chat"


def test_latency_must_be_the_sum_of_its_parts():
    """0.05 s + 99 x 0.02 s is 2.03 s: 2.1 is within 5 %, 2.5 is not, unless a handful of requests were averaged."""
    measured = {(WHOLE_RUN, name): value for name, value in FIGURES.items()}
    assert latency_contradiction(measured | {(WHOLE_RUN, "e2e_mean"): 2.1}, 100, 500) == ""
    reason = latency_contradiction(measured | {(WHOLE_RUN, "e2e_mean"): 2.5}, 100, 500)
    assert reason == "E2E is not TTFT + (n - 1) TPOT: 2.50 s and 2.03 s"
    assert latency_contradiction(measured | {(WHOLE_RUN, "e2e_mean"): 2.5}, 100, 5) == ""


def test_both_scores_are_given():
    """A run that contradicts itself counts apart: 10 % without it, 20 % with it, and never in the overall figures."""
    good, bad = make_case("a", {"e2e_mean": 1.0}), make_case("b", {"e2e_mean": 1.0}, workload="code", contradiction="x")
    scores = score(good, simulated(e2e_mean=1.1)) + score(bad, simulated(e2e_mean=1.3))
    result = scoreboard(scores)
    assert result["datasets"]["blis-vllm015-aggregates"]["e2e_mean"] == pytest.approx(10)
    assert result["with_refused"]["blis-vllm015-aggregates"]["e2e_mean"] == pytest.approx(20)
    assert overall(scores)["e2e"] == pytest.approx(10)
    assert len(result["runs"]) == 2


def test_five_servers_of_part_a_contradict_themselves(shared):
    """Of APEX's servers those whose latency holds a wait that neither TTFT nor TPOT has."""
    cases, skipped = load_all(shared / "ground-truth", ("apex-vllm060-8xh100",))
    assert skipped == []
    assert [case.run for case in cases if case.contradiction] == [
        "llama_creation_05_validation_4TP",
        *(f"mistral_creation_025_validation_4DP2TP_fp8_{number}" for number in range(4)),
    ]


def test_blocks_are_read_where_they_stand():
    """Below ``kv_cache`` or beside it; 0 and missing are unknown."""
    assert known_kv_blocks({"kv_cache": {"num_gpu_blocks": 2765}}) == 2765
    assert known_kv_blocks({"num_gpu_blocks": 7}) == 7
    assert known_kv_blocks({"kv_cache": {"num_gpu_blocks": 0}, "kv_blocks": 9}) == 9
    assert known_kv_blocks({"kv_cache": None}) == 0


def test_littles_law_counts_who_decodes():
    """Of 512 in flight that wait 24 s and decode for 5.5 s, 18 % decode: 96, not the 339 that the cache holds."""
    share = decoding_share(24.3, 0.00546, 1024)
    assert share == pytest.approx(1023 * 0.00546 / (24.3 + 1023 * 0.00546))
    reason = row_contradiction(hardware("llama-3.1-8b"), 512, 339, (8192, 1024), (24.3, 0.00546))
    assert reason == "Little's law: 96 requests decode by the row's own figures, not 339"
    assert row_contradiction(hardware("llama-3.1-8b"), 4, 4, (1000, 1000), (0.1, 0.01)) == ""


def test_no_token_is_faster_than_the_data_sheet():
    """One request of an 8B model reads its 15 GB of bf16 weights per token: 4.5 ms at H100's 3.35 TB/s."""
    least_s = least_step_s(hardware("llama-3.1-8b"), 1, 1, 100)
    assert least_s == pytest.approx(0.0045, rel=0.02)
    reason = row_contradiction(hardware("llama-3.1-8b"), 1, 1, (1, 100), (0.0, 0.003))
    assert reason == "peak arithmetic: a token takes at least 4.5 ms, not 3.0"


def run_of(name, day, tpot_ms, concurrency=4.0, server="s", output=1000):
    """Return a row of a server that was measured on a day."""
    series = Series((server,), day, "1.0")
    return Run(name, series, (1000, output), concurrency, tpot_ms / 1e3, ("trtllm", "1.0", "m", day))


def test_equal_rows_must_agree():
    """Two TPOTs of one configuration a factor of 2 apart on one day rule both rows out; 1.2 is noise."""
    near = [run_of("a", "mon", 10), run_of("b", "mon", 12)]
    assert unequal_runs(near) == {}
    far = unequal_runs([*near, run_of("c", "mon", 20), run_of("d", "mon", 90, output=2000)])
    assert set(far) == {"a", "b", "c"}
    assert far["a"] == "equal rows: TPOT 10.0 and 20.0 ms in one configuration"


def test_a_gain_that_falls_with_the_load_is_drafting():
    """Half of Monday's time with 4 in flight and four fifths with 64: Tuesday drafted, with 16 and on another server
    too, and Monday is right.
    """
    monday = [run_of("a", "mon", 10), run_of("b", "mon", 20, 64.0)]
    tuesday = [run_of("c", "tue", 5), run_of("d", "tue", 16, 64.0), run_of("e", "tue", 8, 16.0)]
    found = unequal_runs([*monday, *tuesday, run_of("f", "tue", 9, server="other")])
    assert set(found) == {"c", "d", "e", "f"}
    assert found["e"] == "drafted tokens: equal rows of other days take 2.0 times as long with 4 in flight"


def test_a_gain_that_grows_with_the_load_is_not_drafting():
    """As fast with 4 in flight and half of the time with 64: neither day is known to be right there."""
    found = unequal_runs(
        [run_of("a", "mon", 10), run_of("b", "mon", 20, 64.0), run_of("c", "tue", 10), run_of("d", "tue", 12, 64.0)]
    )
    assert set(found) == {"b", "d"}
    assert found["b"] == "equal rows: TPOT 12.0 and 20.0 ms in one configuration"


def test_no_token_is_faster_with_more_in_flight():
    """42 ms with 2 in flight and 28 ms with 8 are a factor of 1.5 the wrong way: both rows go, that with 64 stays."""
    found = unequal_runs([run_of("a", "", 42, 2.0), run_of("b", "", 28, 8.0), run_of("c", "", 38, 64.0)])
    assert set(found) == {"a", "b"}
    assert found["a"] == "falling times: TPOT 42.0 ms with 2 in flight, 28.0 ms with 8"
