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
    assert width <= end_ns / 1e9 - series[-1][0] < 2 * width, "the last interval reaches to the end"
    last = series[-1][1] * (end_ns / 1e9 - series[-1][0])
    assert sum(one * width for _, one in series[:-1]) + last == pytest.approx(100_000)
    assert rate.dispersion(end_ns, 10.0) == pytest.approx(1.0, abs=0.2)
    assert rate.dispersion(end_ns, 1e-3) is None


def test_the_last_interval_reaches_to_the_end() -> None:
    """Three requests at 0, 63.95 and 64 s: whole intervals of 1.1 s; the 58th, from 62.7 s on, has the last two."""
    rate = RateOverTime()
    rate.add(np.array([0, 63_950_000_000, 64_000_000_000]))
    series = rate.series(64_000_000_000, 60)
    assert len(series) == 58
    assert series[0] == (0.0, pytest.approx(1 / 1.1))
    assert series[-1] == (pytest.approx(62.7), pytest.approx(2 / 1.3))
    assert sum(one for _, one in series[1:-1]) == 0


def test_every_request_of_a_short_trace_is_in_the_rate() -> None:
    """Of requests at 0, 100 and 150 ms the whole interval of 100 ms reaches to the end; within 50 ms there is none."""
    rate = RateOverTime()
    rate.add(np.array([0, 100_000_000, 150_000_000]))
    assert rate.series(150_000_000, 60) == [(0.0, pytest.approx(3 / 0.15))]
    assert rate.series(0, 60) == [], "one instant has no rate"
    short = RateOverTime()
    short.add(np.array([0, 20_000_000, 50_000_000]))
    assert short.series(50_000_000, 60) == [(0.0, pytest.approx(60.0))]


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


def test_a_segment_that_grows_is_found_as_far_as_it_was_known() -> None:
    """Of prompts of 320, 800, 1280 and 1760 tokens the earlier prompt and its output of 160 are found: 2880 of 4160."""
    prompts = np.array([320, 800, 1280, 1760])
    turns = [
        Attributes(session_id=1, turn=turn, segments=((7, tokens),), output_segment=7 if turn < 3 else -1)
        for turn, tokens in enumerate(prompts.tolist())
    ]
    columns = Columns(np.arange(4) * 10**9, prompts, np.full(4, 160), turns)
    summary = summarise(iter([columns]))
    assert summary.shared_prompt_tokens == 480 + 960 + 1440
    assert summary.as_dict()["shared_prompt_ratio"] == pytest.approx(2880 / 4160)


def test_outputs_left_out_of_the_history_are_not_found() -> None:
    """Without an output's segment the earlier prompt alone is known: 320 of 800; what follows it is not found."""
    turns = [
        Attributes(segments=((7, 320),)),
        Attributes(segments=((7, 800), (8, 100))),
        Attributes(segments=((8, 9),)),
    ]
    columns = Columns(np.arange(3) * 10**9, np.array([320, 900, 5]), np.full(3, 160), turns)
    assert summarise(iter([columns])).shared_prompt_tokens == 320 + 5, "a segment is cut to its prompt"


def test_an_output_with_a_segment_of_its_own_is_found() -> None:
    """A recorded history names prompt and output apart: both, 300 and 50 tokens, are found, the new 70 are not."""
    turns = [Attributes(segments=((1, 300),), output_segment=2), Attributes(segments=((1, 300), (2, 50), (3, 70)))]
    columns = Columns(np.arange(2) * 10**9, np.array([300, 420]), np.array([50, 10]), turns)
    assert summarise(iter([columns])).shared_prompt_tokens == 350


def test_a_single_request_can_be_described() -> None:
    """Figures that need two requests are left out."""
    one = np.array([5])
    summary = WorkloadSummary()
    summary.add(Columns(one, one, one))
    assert summary.request_rate is None
    assert summary.gap_cv is None
    assert not [line for line in draw_summary(summary) if line.startswith("rate over time")]
    assert spark([0.0, 0.0]) == "  "
