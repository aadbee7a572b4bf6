"""Charts of a fleet over time."""

from typing import Any

import numpy as np
import pytest

from cluster_sim.report.fleet_figures import MAX_TICKS, heat_maps, request_figures, series_figures


def _series(replicas: int, ticks: int) -> dict[str, Any]:
    """Return a series in which replica r runs r requests at every tick, and one waits at replica 0."""
    replica = np.repeat(np.arange(replicas), ticks).astype(np.float64)
    time_s = np.tile(np.arange(1, ticks + 1), replicas).astype(np.float64)
    ones = np.ones(len(replica))
    return {
        "time_s": time_s,
        "replica": replica,
        "running": replica,
        "waiting": (replica == 0).astype(np.float64),
        "kv_used_ratio": ones / 2,
        "prompt_tokens": 10 * ones,
        "generated_tokens": ones,
    }


def _summary(replicas: int, **more: Any) -> dict[str, Any]:
    return {"replicas": [{"replica": n, "pool": "main"} for n in range(replicas)], "simulated_s": 10.0, **more}


def test_series_are_summed_over_replicas_and_averaged_over_ticks() -> None:
    """Three replicas run 0 + 1 + 2 requests and compute 30 prompt tokens a second, however many ticks there are."""
    for ticks in (4, 10 * MAX_TICKS):
        load, tokens, kv = series_figures(_series(3, ticks))
        assert set(load.lines[0].y.tolist()) == {3.0}
        assert set(load.lines[1].y.tolist()) == {1.0}
        assert set(tokens.lines[0].y.tolist()) == {30.0}
        assert set(kv.lines[1].y.tolist()) == {0.5}
        assert len(load.lines[0].x) == min(ticks, MAX_TICKS)
    assert "3 run and 1 wait at most" in load.text


def test_heat_maps_have_a_line_for_each_replica_or_share_them() -> None:
    """Each line shows the highest value of its replicas; what does not exist is empty."""
    load, kv = heat_maps(_series(3, 5), _summary(4))
    assert load.values[:3].tolist() == [[1.0] * 5, [1.0] * 5, [2.0] * 5]
    assert np.isnan(load.values[3]).all()
    assert (load.most, kv.most, load.rows) == (2.0, 0.5, ["main 0", "main 1", "main 2", "main 3"])
    load, _ = heat_maps(_series(600, 2), _summary(600))
    assert load.values[:, 0].tolist() == [float(min(3 * line + 2, 599)) for line in range(200)]
    assert "Each line stands for 3 replicas." in load.text


def test_throughput_counts_what_ends_and_what_is_good() -> None:
    """Of 40 requests in ten seconds half finish, and a quarter of these is within the limit."""
    number = np.arange(40)
    is_finished = number % 2 == 0
    columns = {
        "arrival_s": number / 4.0,
        "finish_s": np.where(is_finished, number / 4.0, np.nan),
        "e2e_s": np.where(is_finished, 1.0, np.nan),
        "ttft_s": np.where(number % 8 == 0, 0.1, 0.9),
        "tpot_s": np.full(40, np.nan),
        "prompt_tokens": np.full(40, 10.0),
        "cached_tokens": np.full(40, 5.0),
        "preemptions": (number == 3).astype(np.float64),
    }
    slo = {"limits": [{"name": "ttft_p99_s", "limit_s": 0.5}, {"name": "ttft_mean_s", "limit_s": 0.01}]}
    throughput, hits, preemptions = request_figures(columns, _summary(1, slo=slo))
    width_s = 5.0
    arrivals, finished, good = (line.y.sum() * width_s for line in throughput.lines)
    assert (arrivals, finished, good) == pytest.approx((40, 20, 5))
    assert "25.0% of the finished ones" in throughput.text
    assert hits.lines[0].y.tolist() == [0.5, 0.5]
    assert preemptions.lines[0].y.tolist() == pytest.approx([0.2, 0.0])
