"""Judgements of runs: shares beyond a limit, lost requests, growing queues, certainty."""

import numpy as np
import pytest

from cluster_sim.metrics.objectives import ClassMatch, Limit
from cluster_sim.study.limited_figures import LoadLimit
from cluster_sim.study.load_judgement import Judgement, Outcome, RequestRows, figure_s, judge

LIMITS = [LoadLimit(Limit("ttft_s", "p99", 2.0))]


def rows(ttft_s: np.ndarray, stay_s: np.ndarray | float = 1.0, **lost: int) -> RequestRows:
    """Return requests that arrive one a second."""
    arrival_s = np.arange(len(ttft_s), dtype=np.float64)
    is_finished = np.ones(len(ttft_s), bool)
    is_finished[: sum(lost.values())] = False
    tenants = np.array(["a", "b"] * (len(ttft_s) // 2), dtype=object)
    gaps = {"p99": 0.05, "mean": 0.01}
    return RequestRows(arrival_s, arrival_s + stay_s, is_finished, {"ttft_s": ttft_s}, lost, gaps, {"tenant": tenants})


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
    assert figure_s(rows(ttft_s), LIMITS[0]) == 1.0


def test_lost_requests_leave_no_capacity() -> None:
    """More than one request in a hundred that is refused or lost is an overload, and named."""
    judgement = judge(rows(np.ones(1000), refused=620, cancelled=1), LIMITS)
    assert judgement == Judgement(
        Outcome.OVERLOADED, False, "62.00% of the requests are refused, 0.10% of the requests are cancelled"
    )
    assert judge(rows(np.ones(1000), cancelled=1000), LIMITS).outcome is Outcome.OVERLOADED


def test_few_lost_requests_are_worse_than_any_limit() -> None:
    """One in a hundred may be lost, but then none may be late; a mean is infinite with a single one."""
    ttft_s = np.ones(10_000)
    lost = rows(ttft_s)
    lost.is_finished[2000::100] = False  # Eight in each of the ten batches of 800 that are measured.
    assert judge(lost, LIMITS) == Judgement(Outcome.SUSTAINED, True, "")
    ttft_s[2001::100] = 3.0
    assert judge(lost, LIMITS).outcome is Outcome.OVERLOADED
    assert not judge(lost, [LoadLimit(Limit("ttft_s", "mean", 100.0))]).is_sustained


@pytest.mark.parametrize(
    ("limit", "is_sustained"),
    [
        (Limit("ttft_s", "mean", 1.01), True),
        (Limit("ttft_s", "mean", 0.99), False),
        (Limit("itl_s", "p99", 0.06), True),
        (Limit("itl_s", "mean", 0.009), False),
    ],
)
def test_means_and_gaps(limit: Limit, is_sustained: bool) -> None:
    """A mean is held against its limit, and so are the gaps between tokens."""
    judgement = judge(rows(np.ones(1000)), [LoadLimit(limit)])
    assert judgement.is_sustained is is_sustained
    assert judgement.outcome is (Outcome.SUSTAINED if is_sustained else Outcome.OVERLOADED)


def test_limits_of_a_class() -> None:
    """A limit of a class covers its requests alone, and is named with it."""
    ttft_s = np.ones(1000)
    ttft_s[1::2] = 3.0  # Those of tenant b.
    judged = [judge(rows(ttft_s), [LoadLimit(LIMITS[0].limit, ClassMatch(tenant=name))]) for name in "abc"]
    assert [judgement.is_sustained for judgement in judged] == [True, False, True]
    assert judged[1].reason == "tenant b: ttft p99 is 3 s, above 2 s"


def test_a_growing_queue_is_not_sustained() -> None:
    """Stays that grow from 0 to 20 s over 1,000 s, and so the number in the system, are an overload within limits."""
    judgement = judge(rows(np.ones(1000), np.linspace(0, 20, 1000)), LIMITS)
    assert judgement.outcome is Outcome.OVERLOADED
    assert "the number of requests in the system grows" in judgement.reason
    filling = judge(rows(np.ones(1000), np.linspace(0, 200, 1000)), LIMITS)
    assert (filling.outcome, filling.is_sustained) == (Outcome.UNCLEAR, False)
