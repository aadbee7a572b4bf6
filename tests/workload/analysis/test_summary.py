"""The description of a workload."""

import numpy as np
import pytest

from cluster_sim.workload.analysis.drawing import draw_summary, spark
from cluster_sim.workload.analysis.summary import LengthStatistics, RateOverTime, WorkloadSummary, summarise
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import Attributes


def test_moments_are_exact_and_quantiles_within_one_percent() -> None:
    """Moments are those of the values and quantiles near them, however lengths are split into blocks."""
    values = np.random.default_rng(1).lognormal(6, 1.2, 50_000).astype(np.int64) + 1
    one, whole = LengthStatistics(), LengthStatistics()
    for part in np.array_split(values, 7):
        one.add(part)
    whole.add(values)
    assert one.as_dict() == pytest.approx(whole.as_dict())
    assert (one.count, one.total, one.least, one.most) == (50_000, values.sum(), values.min(), values.max())
    assert one.mean == pytest.approx(values.mean())
    assert one.std == pytest.approx(values.std())
    for share in (0.01, 0.25, 0.5, 0.9, 0.99, 0.999):
        assert one.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.01)
    assert sum(count for _, _, count in one.histogram()) == 50_000


def test_rate_bins_grow_with_the_trace() -> None:
    """However long the trace, every arrival is counted, and the dispersion of Poisson counts is 1."""
    rate = RateOverTime()
    times = np.cumsum(np.random.default_rng(2).exponential(0.05, 100_000) * 1e9).astype(np.int64)
    for part in np.array_split(times, 50):
        rate.add(part)
    end_ns = int(times[-1])
    series = rate.series(end_ns, 40)
    assert len(series) <= 40
    width = series[1][0]
    whole = np.count_nonzero(times < (series[-1][0] + width) * 1e9)
    assert 97_000 < whole < 100_000, "the last interval is not whole and gives no rate"
    assert sum(one * width for _, one in series) == pytest.approx(whole)
    assert rate.dispersion(end_ns, 10.0) == pytest.approx(1.0, abs=0.2)
    assert rate.dispersion(end_ns, 1e-3) is None


def test_the_last_incomplete_interval_gives_no_rate() -> None:
    """Three requests at 0, 63.95 and 64 s: intervals of 1.1 s, of which the 59th, from 63.8 s on, is not whole."""
    rate = RateOverTime()
    rate.add(np.array([0, 63_950_000_000, 64_000_000_000]))
    series = rate.series(64_000_000_000, 60)
    assert len(series) == 58
    assert series[0] == (0.0, pytest.approx(1 / 1.1))
    assert sum(one for _, one in series[1:]) == 0
    assert rate.series(50_000_000, 60) == [], "nothing but an incomplete interval"


def test_summary_of_prefixes_and_sessions() -> None:
    """Shared tokens count as long as the chain is unbroken; turns are counted by session."""
    attributes = [
        Attributes(session_id=1, tenant="a", segments=((1, 10), (2, 5))),
        Attributes(session_id=1, turn=1, tenant="a", segments=((1, 10), (2, 5), (3, 5))),
        Attributes(session_id=2, segments=((9, 10), (2, 10))),
    ]
    tokens = np.array([15, 20, 20])
    summary = summarise(iter([Columns(np.array([0, 10**9, 3 * 10**9]), tokens, tokens, attributes)]))
    figures = summary.as_dict()
    assert summary.shared_prompt_tokens == 15
    assert figures["sessions"] == 2
    assert figures["turns_per_session"] == 1.5
    assert figures["tenants"] == {"a": 2}
    assert figures["request_rate"] == pytest.approx(2 / 3)
    text = "\n".join(draw_summary(summary))
    assert "would find 27.3% of all prompt tokens" in text
    assert "sessions: 2, 1.50 turns each" in text


def test_a_single_request_can_be_described() -> None:
    """Figures that need two requests are left out."""
    one = np.array([5])
    summary = WorkloadSummary()
    summary.add(Columns(one, one, one))
    assert summary.request_rate is None
    assert summary.gap_cv is None
    assert not [line for line in draw_summary(summary) if line.startswith("rate over time")]
    assert spark([0.0, 0.0]) == "  "
