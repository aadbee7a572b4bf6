"""Comparison of runs, of sweeps over seeds, and with a benchmark's figures."""

import numpy as np
import pytest

from cluster_sim.study.comparison import (
    Finding,
    RunFigures,
    compare_replications,
    compare_runs,
    compare_with_benchmark,
)


def run(seed: int, ttft_s: float = 1.0, noise: int = 0, band: dict[str, float] | None = None) -> RunFigures:
    """Return a run of 1,000 requests, of which every fifth has a longer first token."""
    requests = np.random.default_rng(seed).integers(0, 1000, (1000, 3))
    own = np.random.default_rng((seed, noise)).normal(0.0, 0.02, 1000)
    values = ttft_s * (1.0 + (requests[:, 1] % 5 == 0) + own)
    columns = {"ttft": values, "e2e": values + 1.0, "lost": np.zeros(1000)}
    return RunFigures(requests, columns, slice(100, 1000), {"cost_usd": 3.0 * ttft_s}, band or {})


def findings(differences: list) -> dict[str, Finding]:  # type: ignore[type-arg]
    return {difference.figure: difference.finding for difference in differences}


def test_runs_that_served_the_same_requests() -> None:
    """A change of 2 % is found in pairs, which twice the noise hides between runs of different requests."""
    paired = compare_runs(run(1), run(1, 1.02, noise=1))
    assert findings(paired)["ttft_mean_s"] is Finding.DIFFERENT
    assert findings(paired)["lost_ratio"] is Finding.EQUAL
    assert findings(paired)["cost_usd"] is Finding.UNKNOWN
    mean = next(difference for difference in paired if difference.figure == "ttft_mean_s")
    assert mean.ratio == pytest.approx(0.02, abs=0.005)
    independent = compare_runs(run(1), run(3, 1.02))
    assert findings(independent)["ttft_mean_s"] is Finding.NOISE
    assert findings(compare_runs(run(1), run(2, 3.0)))["ttft_p99_s"] is Finding.DIFFERENT


def test_a_run_equals_itself() -> None:
    """Every figure of a run compared with itself is equal; llm-infer's measures are among them."""
    found = findings(compare_runs(run(1), run(1)))
    assert set(found.values()) == {Finding.EQUAL}
    assert {"fairness_index", "starvation_rate", "ttft_p90_s", "e2e_mean_s"} <= set(found)


def test_runs_with_different_warm_ups_are_compared_where_both_are_measured() -> None:
    """The same requests, one run measured from the 500th on: both sides are then."""
    late = run(1)
    later = RunFigures(late.requests, late.all_values, slice(500, 1000), late.scalars, late.band_percent)
    assert set(findings(compare_runs(run(1), later)).values()) == {Finding.EQUAL}


def test_a_benchmark() -> None:
    """The benchmark comes first; more than chance but within the predictor's band is said so; rates have no chance."""
    simulated = run(1, 1.0, band={"ttft_mean": 30.0})
    own = float(simulated.values("ttft").mean())
    measured = {"ttft_mean": own * 1.25, "ttft_p50": own * 3, "e2e_mean": own + 1.0, "itl_mean": 3.0}
    found = compare_with_benchmark(simulated, measured, 900)
    assert findings(found) == {
        "ttft_mean_s": Finding.WITHIN_BAND,
        "ttft_p50_s": Finding.DIFFERENT,
        "e2e_mean_s": Finding.NOISE,
    }
    assert found[0].first == measured["ttft_mean"]
    small = compare_with_benchmark(simulated, {"e2e_mean": own + 1.0}, 9)[0].difference
    assert small is not None
    assert found[2].difference is not None
    ratio = small.interval.high / found[2].difference.interval.high
    assert ratio == pytest.approx((101 / 2) ** 0.5)


def test_replications() -> None:
    """Over five seeds in pairs a small change is certain; one run on each side says nothing of chance."""
    first = [{"cost_usd": value, "alone": 1.0} for value in (1.0, 2.0, 3.0, 4.0, 5.0)]
    second = [{"cost_usd": value + 0.1 + 0.01 * value} for value in (1.0, 2.0, 3.0, 4.0, 5.0)]
    (paired,) = compare_replications(first, second, are_paired=True)
    assert (paired.finding, paired.first) == (Finding.DIFFERENT, 3.0)
    (loose,) = compare_replications(first, second, are_paired=False)
    assert loose.finding is Finding.NOISE
    (single,) = compare_replications(first[:1], second[:1], are_paired=True)
    assert (single.finding, single.difference) == (Finding.UNKNOWN, None)
