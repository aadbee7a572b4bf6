"""Quantiles over replications: hand-worked values, and how often the intervals hold the truth."""

import math

import numpy as np
import pytest

from cluster_sim.metrics.replicated_quantiles import ReplicatedValues


def test_two_replications_by_hand() -> None:
    """Of 1 ... 10 and 11 ... 20 the median is 10; shares of 0 and 1 beyond it leave every lower value possible, and the
    medians 5 and 15 of the replications give the upper end.
    """
    values = ReplicatedValues([np.arange(1.0, 11.0), np.arange(11.0, 21.0)])
    assert (values.count, values.replications) == (20, 2)
    assert values.quantile(0.5) == 10
    assert values.share_above(10) == 0.5
    assert values.shares_above(10).tolist() == [0.0, 1.0]
    # Variance of the shares 0.5 over two replications 0.25, of twenty independent values 0.0125.
    assert values.design_effect(0.5) == pytest.approx(20)
    estimate = values.quantile_estimate(0.5)
    assert (estimate.value, estimate.interval.low) == (10, -math.inf)
    # Student's t of 99 % with one degree of freedom is 63.657.
    spread = math.sqrt((math.log(0.5) ** 2 + math.log(1.5) ** 2) / 2)
    assert math.log(estimate.interval.high / 10) == pytest.approx(63.657 * spread, rel=1e-4)


def test_equal_replications_leave_nothing_open() -> None:
    """Replications with the same values agree on every share, so that the interval is the quantile."""
    values = ReplicatedValues([np.arange(1.0, 101.0)] * 4)
    assert values.quantile_estimate(0.9) == (90.0, (90.0, 90.0))
    assert values.mean_estimate() == (50.5, (50.5, 50.5))


def test_share_beyond_a_value_by_hand() -> None:
    """The shares 0.1 and 0.3 of two replications of 10 values leave 0.2 give or take 12.706 times 0.1."""
    values = ReplicatedValues([np.array([0.0] * 9 + [2.0]), np.array([0.0] * 7 + [2.0] * 3)])
    low, high = values.share_interval(1.0)
    assert (low + high) / 2 == pytest.approx(0.2)
    assert (high - low) / 2 == pytest.approx(12.706 * 0.1, rel=1e-4)
    assert ReplicatedValues([np.arange(10.0)]).share_interval(1.0) == (-math.inf, math.inf)


def test_mean_of_unequal_replications() -> None:
    """A replication with more values counts for more: 10 values of 1 and 30 of 2 have the mean 1.75."""
    estimate = ReplicatedValues([np.full(10, 1.0), np.full(30, 2.0)]).mean_estimate()
    assert estimate.value == 1.75
    # Deviations of the sums are -7.5 and 7.5: variance 2 * 112.5 / 40^2, t = 12.706.
    assert estimate.interval.high == pytest.approx(1.75 + 12.706 * math.sqrt(2 * 112.5) / 40, rel=1e-4)


def test_lost_requests_and_too_few_values() -> None:
    """A lost request is beyond any quantile; one replication says nothing of the others; none at all is refused."""
    lost = ReplicatedValues([np.array([1.0, math.inf]), np.array([1.0, 2.0])])
    assert lost.quantile(0.5) == 1.0
    assert lost.quantile(0.99) == math.inf
    assert lost.mean_estimate().value == math.inf
    assert ReplicatedValues([np.arange(100.0)]).quantile_estimate(0.5).interval == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one value"):
        ReplicatedValues([np.empty(0)])


def test_coverage_on_dependent_values() -> None:
    """On the waiting line of an M/M/1 queue at half of its load, intervals of 95 % hold the truth in 92 to 98 %."""
    generator = np.random.default_rng(7)
    repeats, replications, requests = 400, 10, 500
    gaps = generator.exponential(2.0, (requests, repeats, replications))
    services = generator.exponential(1.0, (requests, repeats, replications))
    sojourns, wait = np.empty_like(gaps), np.zeros((repeats, replications))
    for index in range(requests):
        sojourns[index] = wait + services[index]
        if index + 1 < requests:
            wait = np.maximum(0.0, sojourns[index] - gaps[index + 1])
    sojourns = sojourns[50:]
    true_mean, true_p99 = 2.0, 2 * math.log(100)  # The sojourn is exponential with the mean 1 / (1 - 0.5).
    held = np.zeros(2)
    for repeat in range(repeats):
        values = ReplicatedValues([sojourns[:, repeat, number] for number in range(replications)])
        for index, (estimate, true) in enumerate(
            ((values.mean_estimate(), true_mean), (values.quantile_estimate(0.99), true_p99))
        ):
            held[index] += estimate.interval.low <= true <= estimate.interval.high
    assert (held / repeats >= 0.92).all()
    assert (held / repeats <= 0.98).all()
