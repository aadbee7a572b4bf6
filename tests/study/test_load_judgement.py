"""Judgements of runs: shares beyond a limit, lost requests, growing queues, certainty."""

import numpy as np
import pytest

from cluster_sim.metrics.objectives import Limit
from cluster_sim.study.load_judgement import Judgement, Outcome, RequestRows, judge, percentile_s

LIMITS = [Limit("ttft_s", "p99", 2.0)]


def rows(ttft_s: np.ndarray, stay_s: np.ndarray | float = 1.0, **lost: int) -> RequestRows:
    """Return requests that arrive one a second."""
    arrival_s = np.arange(len(ttft_s), dtype=np.float64)
    return RequestRows(arrival_s, arrival_s + stay_s, np.ones(len(ttft_s), bool), {"ttft_s": ttft_s}, lost)


def every(step: int, value: float) -> np.ndarray:
    """Return 10,000 times to first token of 1 s, every ``step``-th of which is ``value``."""
    ttft_s = np.ones(10_000)
    ttft_s[::step] = value
    return ttft_s


@pytest.mark.parametrize(
    ("step", "outcome", "is_sustained"),
    [
        (200, Outcome.SUSTAINED, True),  # 0.5 % of every batch are late.
        (100, Outcome.SUSTAINED, True),  # 1 % exactly, in every batch.
        (50, Outcome.OVERLOADED, False),  # 2 %.
    ],
)
def test_even_shares(step: int, outcome: Outcome, is_sustained: bool) -> None:
    """A 99th percentile allows one request in a hundred beyond the limit; equal batches leave no doubt."""
    judgement = judge(rows(every(step, 3.0)), LIMITS)
    assert (judgement.outcome, judgement.is_sustained) == (outcome, is_sustained)
    assert judgement.reason == ("" if is_sustained else "ttft p99 is 3 s, above 2 s")


def test_one_bad_batch_is_not_certain() -> None:
    """0.9 % of the requests, all in one of ten batches, are within the limit, but the next run may be beyond it."""
    ttft_s = np.ones(10_000)
    ttft_s[5000:5072] = 3.0  # Of 8,000 after the warm-up.
    assert judge(rows(ttft_s), LIMITS) == Judgement(Outcome.UNCLEAR, True, "")


def test_the_warm_up_is_not_measured() -> None:
    """What happens to the first fifth of the requests does not count."""
    ttft_s = np.ones(1000)
    ttft_s[:200] = 50.0
    assert judge(rows(ttft_s), LIMITS).outcome is Outcome.SUSTAINED
    assert percentile_s(rows(ttft_s), LIMITS[0]) == 1.0


def test_lost_requests_leave_no_capacity() -> None:
    """Any request that was refused or lost is worse than any limit, and named."""
    judgement = judge(rows(np.ones(1000), refused=620, cancelled=1), LIMITS)
    assert judgement == Judgement(
        Outcome.OVERLOADED, False, "62.0% of the requests are refused, 0.1% of the requests are cancelled"
    )


def test_a_growing_queue_is_not_sustained() -> None:
    """Stays that grow from 0 to 20 s over 1,000 s, and so the number in the system, are an overload within limits."""
    judgement = judge(rows(np.ones(1000), np.linspace(0, 20, 1000)), LIMITS)
    assert judgement.outcome is Outcome.OVERLOADED
    assert "the number of requests in the system grows" in judgement.reason
    filling = judge(rows(np.ones(1000), np.linspace(0, 200, 1000)), LIMITS)
    assert (filling.outcome, filling.is_sustained) == (Outcome.UNCLEAR, False)
