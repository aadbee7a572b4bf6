"""Tests of first tokens by interval."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.recording import first_tokens
from cluster_sim.recording.first_tokens import NOTES, FirstTokenLog

MS = 1_000_000


def _noted(count: int, interval_ns: int = 100) -> FirstTokenLog:
    log = FirstTokenLog(interval_ns)
    for index in range(count):
        log.note(index, 1000 + index, 10, 4, 1)
    return log


def test_first_tokens_are_observed_when_they_come() -> None:
    """A time on a bound is within it; a first token that goes to no client counts its prompt alone."""
    log = FirstTokenLog(100)
    log.note(100, 5 * MS, 30, 8, 2)
    log.note(101, -1, 50, 0, 0)
    taken = log.take(np.array([100, 200]))
    assert taken[first_tokens.PROMPTS].tolist() == [1, 1]
    assert taken[first_tokens.PROMPT_TOKENS].tolist() == [30, 50]
    assert taken[first_tokens.CACHED_TOKENS].tolist() == [8, 0]
    assert taken[first_tokens.EXTERNAL_TOKENS].tolist() == [2, 0]
    assert taken[first_tokens.TTFT_SUM_NS].tolist() == [5 * MS, 0]
    assert taken[first_tokens.TTFT_COUNTS].tolist()[1] == [1, 0]
    assert taken[first_tokens.TTFT_COUNTS].sum() == 1


def test_totals_need_no_ticks() -> None:
    """Totals hold every note, counted in bulk or apart, and those beyond the end of the run can be taken out."""
    log = _noted(2 * NOTES + 10, 0)
    assert log.totals()[first_tokens.PROMPTS] == 2 * NOTES + 10
    log.cut(2 * NOTES)
    assert log.totals()[first_tokens.PROMPTS] == 2 * NOTES + 1
    assert log.totals()[first_tokens.TTFT_COUNTS].sum() == 2 * NOTES + 1


@given(st.lists(st.integers(0, 700), max_size=60), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_series_sum_to_the_totals(times: list[int], width: int) -> None:
    """Whatever is taken when, all intervals together hold every note once."""
    log = FirstTokenLog(70)
    taken = np.zeros(first_tokens.ROWS, np.int64)
    for index, time in enumerate(sorted(times)):
        log.note(time, time * MS, 3, 1, 1)
        if index % width == 0:
            taken += log.take(np.array([(time // 70 + 1) * 70 + 70 * index])).sum(axis=1)
    totals = log.totals()
    taken += log.take(np.array([10**6])).sum(axis=1)
    assert taken.tolist() == totals.tolist()
    assert totals[first_tokens.PROMPTS] == len(times)
