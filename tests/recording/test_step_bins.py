"""Tests of iterations summed by interval."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.recording import step_bins
from cluster_sim.recording.step_bins import StepBins

MS = 1_000_000


def _array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _steps(bins: StepBins, ends: np.ndarray, prompts: np.ndarray, generated: np.ndarray) -> None:
    nothing = np.zeros(len(ends), np.int64)
    bins.add_steps(ends, nothing, nothing, prompts, generated, prompts)


def test_intervals_are_closed_at_their_end() -> None:
    """An iteration that ends at a tick belongs to the interval before it."""
    bins = StepBins(10)
    _steps(bins, _array(1, 10, 11), _array(5, 0, 7), _array(1, 2, 3))
    assert bins.take(_array(10, 20))[:3].tolist() == [[2, 1], [5, 7], [3, 3]]


def test_runs_are_cut_at_ticks() -> None:
    """A run over several intervals gives each its own iterations, tokens and gaps, runs of different weight too."""
    bins = StepBins(10)
    bins.add_runs(_array(4, 8, 12, 16, 30, 31), _array(4, 4, 4, 4, 14, 1), _array(4, 2), _array(3, 2))
    taken = bins.take(_array(10, 20, 30, 40))
    assert taken[step_bins.ITERATIONS].tolist() == [2, 2, 1, 1]
    assert taken[step_bins.GENERATED_TOKENS].tolist() == [6, 6, 2, 2]
    assert taken[step_bins.GAP_SUM_NS].tolist() == [24, 24, 28, 2]
    assert taken[step_bins.GAP_COUNTS].sum(axis=0).tolist() == [6, 6, 2, 2]


def test_values_on_a_bound_are_within_it() -> None:
    """Buckets are closed above, as Prometheus's ``le`` says; a gap noted apart counts once."""
    bins = StepBins(0)
    bins.add_steps(_array(30 * MS), _array(10 * MS), _array(3), _array(9), _array(3), _array(5))
    bins.add_gaps(_array(30 * MS), _array(10 * MS + 1))
    assert bins.totals[step_bins.GAP_COUNTS][:3].tolist() == [3, 1, 0]
    assert bins.totals[step_bins.ITERATION_COUNTS][:3].tolist() == [0, 1, 0]
    assert bins.totals[step_bins.GAP_SUM_NS] == 40 * MS + 1


def test_steps_without_output_are_no_observation() -> None:
    """As in vLLM, a step counts with the tokens that it puts out and the whole prompts behind first ones among them."""
    bins = StepBins(0)
    bins.add_steps(*(_array(*column) for column in ((1, 2), (0, 0), (0, 0), (64, 36), (0, 2), (0, 100))))
    assert bins.totals[step_bins.ITERATIONS] == 2
    counts = bins.totals[step_bins.ITERATION_COUNTS].tolist()
    assert (sum(counts), counts[5]) == (1, 1)  # 102 tokens: above 64, at most 128


def test_sums_of_gaps_are_exact() -> None:
    """Gaps that sum to more than a float holds keep their last digit, however they come."""
    gap = (1 << 52) + 1
    bins = StepBins(0)
    bins.add_steps(
        _array(1, 2, 3), _array(gap, gap, gap), _array(1, 1, 1), _array(0, 0, 0), _array(1, 1, 1), _array(0, 0, 0)
    )
    bins.add_gaps(_array(4, 5), _array(gap, gap))
    assert bins.totals[step_bins.GAP_SUM_NS] == 5 * gap


def test_taken_intervals_are_forgotten_and_gaps_filled() -> None:
    """Skipped ticks fall to the next one taken; what comes late for a taken interval is not lost."""
    bins = StepBins(10)
    _steps(bins, _array(5, 15, 25), _array(1, 1, 1), _array(0, 0, 0))
    assert bins.take(_array(20))[0].tolist() == [2]
    _steps(bins, _array(12), _array(4), _array(0))
    assert bins.take(_array(30, 60))[1].tolist() == [5, 0]
    assert bins.take(_array(70))[:3].tolist() == [[0], [0], [0]]


RUNS = st.lists(
    st.tuples(st.lists(st.integers(1 * MS, 40 * MS), min_size=1, max_size=9), st.integers(1, 50)),
    min_size=1,
    max_size=20,
)


@given(RUNS, st.sampled_from([0, 15 * MS, 1000 * MS]))
@settings(max_examples=60, deadline=None)
def test_runs_count_like_their_steps(runs: list[tuple[list[int], int]], interval_ns: int) -> None:
    """Whole runs and their single iterations give the same sums in every interval."""
    gaps = np.array([gap for run, _ in runs for gap in run], np.int64)
    lengths = np.array([len(run) for run, _ in runs], np.int64)
    weights = np.array([weight for _, weight in runs], np.int64)
    ends = np.cumsum(gaps)
    by_run, by_step = StepBins(interval_ns), StepBins(interval_ns)
    by_run.add_runs(ends, gaps, lengths, weights)
    each = np.repeat(weights, lengths)
    by_step.add_steps(ends, gaps, each, np.zeros(len(ends), np.int64), each, np.zeros(len(ends), np.int64))
    assert by_run.totals.tolist() == by_step.totals.tolist()
    if interval_ns:
        ticks = np.arange(1, int(ends[-1]) // interval_ns + 3) * interval_ns
        assert by_run.take(ticks).tolist() == by_step.take(ticks).tolist()
