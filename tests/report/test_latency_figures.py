"""Charts of latencies."""

from typing import Any

import numpy as np
import pytest

from cluster_sim.recording.buckets import TOKEN_GAP_S
from cluster_sim.report.latency_figures import distribution, token_distribution, ttft_by_prompt, ttft_over_time

NO_GAPS: dict[str, Any] = {"slo": {"limits": []}, "itl_s": {"count": 0}}


def test_distributions_end_at_their_extremes() -> None:
    """The curve of 1 to 101 ms goes through the median; a limit on it is a line; queues of 0 are left of the axis."""
    columns = {"ttft_s": np.arange(1, 102) / 1000, "e2e_s": np.full(101, np.nan), "queue_s": np.zeros(101)}
    summary = {"slo": {"limits": [{"name": "ttft_p99_s", "limit_s": 2.0}]}}
    chart = distribution(columns, ("ttft_s", "e2e_s", "queue_s"), summary, "Latency")
    assert chart is not None
    assert [line.name for line in chart.lines] == ["first token", "queue"]
    x, y = chart.lines[0].x, chart.lines[0].y
    assert (x[0], x[-1], y[0], y[-1]) == (0.001, 0.101, 0.0, 1.0)
    assert np.interp(0.5, y, x) == pytest.approx(0.051)
    assert [limit.label for limit in chart.limits] == ["limit TTFT p99"]
    assert chart.text.startswith("first token: half within 51")
    assert 0 <= chart.x_axis.place(2.0) <= 1


def test_gaps_between_tokens_come_from_percentiles_and_buckets() -> None:
    """Between minimum and maximum the curve has the bounds of the buckets that lie there."""
    counts = np.zeros(len(TOKEN_GAP_S) + 1)
    counts[:3] = 60, 30, 10
    figures = {"count": 100, "min": 0.004, "p50": 0.009, "p90": 0.025, "p95": 0.03, "p99": 0.04, "max": 0.045}
    summary = {"slo": {"limits": []}, "itl_s": figures}
    chart = token_distribution({"tpot_s": np.full(3, np.nan)}, counts, summary)
    assert chart is not None
    points = list(zip(chart.lines[0].x.tolist(), chart.lines[0].y.tolist(), strict=True))
    assert points == [
        (0.004, 0.0), (0.009, 0.5), (0.01, 0.6), (0.025, 0.9), (0.025, 0.9), (0.03, 0.95), (0.04, 0.99), (0.045, 1.0)
    ]  # fmt: skip
    assert token_distribution({"tpot_s": np.full(3, np.nan)}, 0 * counts, NO_GAPS) is None


def test_first_tokens_over_time_by_windows_of_arrivals() -> None:
    """Forty requests make two windows; the second is slower."""
    columns = {"arrival_s": np.arange(40.0), "ttft_s": np.repeat([0.1, 0.4], 20)}
    chart = ttft_over_time(columns, NO_GAPS)
    assert chart is not None
    assert chart.lines[0].y.tolist() == pytest.approx([0.1, 0.4])
    assert "highest, 400 ms" in chart.text
    assert ttft_over_time({"arrival_s": np.zeros(1), "ttft_s": np.full(1, np.nan)}, NO_GAPS) is None


def test_prompts_of_one_length_have_no_chart_against_length() -> None:
    """With several lengths the rank correlation is told; equal values share their ranks."""
    columns = {"prompt_tokens": np.arange(1.0, 101.0), "ttft_s": np.arange(1.0, 101.0)}
    chart = ttft_by_prompt(columns)
    assert chart is not None
    assert "Rank correlation 1.00: long prompts wait longer" in chart.text
    columns["prompt_tokens"] = np.repeat([1.0, 2.0], 50)
    columns["ttft_s"] = np.tile([1.0, 2.0], 50)
    chart = ttft_by_prompt(columns)
    assert chart is not None
    assert "Rank correlation 0.00: length hardly decides" in chart.text
    assert ttft_by_prompt(columns | {"prompt_tokens": np.full(100, 7.0)}) is None
