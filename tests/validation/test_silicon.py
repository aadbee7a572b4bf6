"""The closed form of a closed loop, and the statistics over configurations."""

import pytest

from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from tests.hardware.replicas import hardware
from validation.silicon import (
    Point,
    Prompts,
    SteadyState,
    degrees_of,
    rank_correlation,
    score_silicon,
    steady_tpot_s,
    summary,
)


def test_a_closed_loop_spreads_prompts_over_steps():
    """8 requests of 4 outputs replace 2 a step: 1 ms + 2 prompts of 100 tokens at 10 us each are 3 ms."""
    config = LinearOptions(kind="linear", alpha_us=1000.0, beta_us=10.0)
    predictor = LinearPredictor(config, hardware("llama-3.1-8b"))
    expected_us = 1000 + 8 * 10 + 8 / 4 * 100 * 10
    assert steady_tpot_s(predictor, 8, 100, 4) == pytest.approx(expected_us * 1e-6, rel=1e-6)


def test_cohorts_are_interrupted_by_half_of_their_prompts():
    """Of requests that start together each waits for the prompts behind its own: half of the 2 ms above."""
    predictor = LinearPredictor(LinearOptions(alpha_us=1000.0, beta_us=10.0), hardware("llama-3.1-8b"))
    prompts = Prompts(interruptions=0.5)
    assert steady_tpot_s(predictor, 8, 100, 4, prompts) == pytest.approx((1000 + 80 + 1000) * 1e-6, rel=1e-6)


def test_prompts_in_steps_of_their_own_cost_whole_steps():
    """SGLang's prompts share no step: each of the 2 a step takes the constant again, 1 + 0.08 + 2 (1 + 1) = 5.08 ms."""
    predictor = LinearPredictor(LinearOptions(alpha_us=1000.0, beta_us=10.0), hardware("llama-3.1-8b"))
    prompts = Prompts(is_alone=True)
    assert steady_tpot_s(predictor, 8, 100, 4, prompts) == pytest.approx((1000 + 80 + 4000) * 1e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (("8", "1", "8", "1"), (8, 1, 1)),
        (("1", "8", "1", "8"), (1, 8, 8)),
        (("64", "1", "8", "8"), (8, 1, 8)),
        (("1", "16", "4", "4"), (1, 4, 4)),
        (("4", "4", "1", "16"), (1, 4, 4)),
        (("4", "", "2", "2"), (4, 1, 2)),
        (("2", "0", "0", "0"), (2, 1, 1)),
    ],
)
def test_squared_degrees_are_those_of_one_node(degrees, expected):
    """Sixty-four GPUs of 8 ways and 8 ways are 8, sixteen of 4 ways and 4 ranks are 4, with as many groups of experts;
    what fits a node stays; empty and 0 are 1.
    """
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    assert degrees_of(dict(zip(names, degrees, strict=True)), 8) == expected


def test_a_full_cache_limits_what_runs():
    """Llama 70B in fp8 on one H200 caches some hundred thousand tokens: of 512 requests as many run as of 256."""
    row = {"id": "r", "model_path": "meta-llama/Llama-3.3-70B-Instruct", "precision": "fp8", "system": "h200_sxm"}
    row |= {"backend": "vllm", "tp_size": "1", "attention_dp_size": "1", "moe_tp_size": "1", "moe_ep_size": "1"}
    row |= {"isl": "8192", "osl": "1024", "silicon_tpot_ms": "50"}
    steady = SteadyState("vllm")
    few, many, more = (
        steady.point(row | {"concurrency": concurrency}).simulated_s for concurrency in ("4", "256", "512")
    )
    assert few < many == more


def points(*pairs, group="g"):
    return [Point(f"{group}{n}", (group, "d", 1, "vllm"), a, b) for n, (a, b) in enumerate(pairs)]


def test_rank_correlation_knows_order_only():
    """The same order is 1 whatever the scale, the opposite order is -1, two points say nothing."""
    assert rank_correlation(points((1, 10), (2, 11), (3, 500))) == pytest.approx(1)
    assert rank_correlation(points((1, 3), (2, 2), (3, 1))) == pytest.approx(-1)
    assert rank_correlation(points((1, 1), (2, 2))) != rank_correlation(points((1, 1), (2, 2)))


def test_means_are_over_groups_and_over_rows():
    """Two rows with 10 % in one group and one with 40 % in another: 25 % over groups, 20 % over rows, median 10 %."""
    result = summary(points((1, 1.1), (1, 1.1)) + points((1, 1.4), group="h"))
    assert result["tpot_mean"] == pytest.approx(25)
    assert result["tpot_mean_of_rows"] == pytest.approx(20)
    assert result["tpot_median_of_rows"] == pytest.approx(10)
    assert (result["n"], result["rows"]) == (2, 3)


def test_measured_rows_rank_as_simulated(shared):
    """Over part A's aggregated rows the rank correlation is at least 0.9, with nothing fitted to them."""
    found, skipped = score_silicon(shared / "ground-truth" / "aic-silicon-e2e", "vllm")
    assert len(found) > 1000
    assert all(row.reason for row in skipped)
    assert rank_correlation(found) >= 0.9
