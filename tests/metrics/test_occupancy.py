"""Occupancy of replicas: percentiles by hand, and the warning on the edge."""

import numpy as np
import pytest

from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.occupancy import Occupancy, OccupancyTally, edge_warnings
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata


def fleet(slots: int = 200) -> RunMetadata:
    pools = [
        PoolMetadata(name, "m", "d", replicas, 1, 1.0, "linear", kv_blocks=1000, max_num_seqs=slots)
        for name, replicas in (("first", 1), ("second", 2))
    ]
    return RunMetadata("hand", 1, tuple(pools), Slo())


def ticks(running: list[int], blocks: list[int]) -> dict[str, np.ndarray]:
    return {"running": np.array(running), "kv_used_blocks": np.array(blocks)}


def test_percentiles_by_hand() -> None:
    """Of 100 ticks the 99th percentile is the second largest value; the replicas of a pool are counted together."""
    tally = OccupancyTally(fleet())
    tally.add(0, ticks([20] * 98 + [191, 200], [100] * 99 + [960]))
    tally.add(1, ticks([0] * 50, [10] * 50))
    tally.add(2, ticks([100] * 50, [0] * 50))
    first, second = tally.pools()
    assert first == pytest.approx((0.955, 0.1))
    assert second == pytest.approx((0.5, 0.01))
    assert first.is_on_edge
    assert not second.is_on_edge


def test_the_edge_lies_above_95_percent() -> None:
    """190 of 200 slots are 95 % exactly, which is not above it; 951 of 1,000 blocks are."""
    tally = OccupancyTally(fleet())
    tally.add(0, ticks([190] * 10, [950] * 10))
    tally.add(1, ticks([1] * 10, [951] * 10))
    first, second = tally.pools()
    assert (first.is_on_edge, second.is_on_edge) == (False, True)
    (warning,) = edge_warnings(fleet(), [first, second])
    assert warning.startswith("Pool second sits on the edge: a replica uses 95.1% of its 1,000 KV blocks")


@pytest.mark.parametrize(
    ("queue_s", "text"),
    [
        (1, "so a little more load, or steps a little longer than predicted, turns into queueing."),
        (2, "and half of its requests queue for 2 s or longer, so more load, or steps longer than predicted, makes"),
    ],
)
def test_a_pool_with_a_queue_is_full(queue_s: int, text: str) -> None:
    """Of 10 s end to end, 1 s in the queue is a tenth exactly, so none to speak of; 2 s are queueing, not its threat.
    The other pool's requests, which queue for 9 s, do not count.
    """
    totals = RequestTotals(3, ["first", "second"])
    for pool, waited_s in ((0, 9), (1, queue_s)):
        totals.pool_sketches[pool]["queue"].add_many(np.array([waited_s * 10**9] * 3))
        totals.pool_sketches[pool]["e2e"].add_many(np.array([10 * 10**9] * 3))
    (warning,) = edge_warnings(fleet(), [Occupancy(0.5, 0.5), Occupancy(0.5, 1.0)], totals)
    assert warning.startswith(f"Pool second {'is full' if queue_s == 2 else 'sits on the edge'}: a replica uses 100.0%")
    assert text in warning


def test_nothing_is_known_without_ticks_or_limits() -> None:
    """A run without a series, or an engine without a limit of slots, has no such figure and no warning."""
    tally = OccupancyTally(fleet(slots=0))
    tally.add(0, ticks([500], [0]))
    assert tally.pools() == [Occupancy(None, 0.0), Occupancy()]
    assert edge_warnings(fleet(), tally.pools()) == []


def test_replicas_without_rows_were_empty() -> None:
    """Of 200 ticks of two replicas, one without rows, the 99th percentile is the third largest value, not the 2nd."""
    tally = OccupancyTally(fleet())
    tally.add(1, ticks([20] * 97 + [180, 191, 200], [100] * 100))
    first, second = tally.pools(ticks=100)
    assert first == (0.0, 0.0)
    assert second == pytest.approx((0.9, 0.1))
